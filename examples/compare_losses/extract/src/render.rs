//! A function's source on one line: without comments and attributes, white space collapsed, cut to a fixed length.

use std::ops::Range;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Longest document in characters: the signature and the first lines, and less than 1.5 MB for all after compression.
pub(crate) const MAX_CHARS: usize = 240;

/// The document of a function.
///
/// The source is lexed anew and written token by token as it stands, with one space where anything stood between two
/// tokens; so comments go, and strings stay whole.
pub(crate) fn document(source: &str) -> Result<String> {
    let tokens: TokenStream = source.parse().map_err(|error| anyhow!("{error}"))?;
    let mut spans = Vec::new();
    collect(tokens, &mut spans);
    let mut line = String::new();
    let mut end = 0;
    for span in spans {
        if span.start > end && !line.is_empty() {
            line.push(' ');
        }
        end = span.end;
        line.push_str(
            source
                .get(span)
                .ok_or_else(|| anyhow!("a token outside its source"))?,
        );
    }
    let collapsed = line.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(collapsed
        .chars()
        .take(MAX_CHARS)
        .collect::<String>()
        .trim_end()
        .to_owned())
}

/// Byte ranges of the tokens in order, without attributes; a doc comment lexes as an attribute, too.
fn collect(tokens: TokenStream, spans: &mut Vec<Range<usize>>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(ref mark) if mark.as_char() == '#' => {
                // `#[…]` and `#![…]`; any other `#` belongs to a macro.
                let mut rest = tokens.clone();
                let inner =
                    rest.next_if(|next| matches!(next, TokenTree::Punct(p) if p.as_char() == '!'));
                if rest.next_if(is_brackets).is_some() {
                    tokens = rest;
                } else {
                    spans.push(mark.span().byte_range());
                    spans.extend(inner.map(|mark| mark.span().byte_range()));
                    tokens = rest;
                }
            }
            TokenTree::Group(group) => collect_group(&group, spans),
            leaf => spans.push(leaf.span().byte_range()),
        }
    }
}

fn is_brackets(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket)
}

fn collect_group(group: &Group, spans: &mut Vec<Range<usize>>) {
    spans.push(group.span_open().byte_range());
    collect(group.stream(), spans);
    spans.push(group.span_close().byte_range());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_attributes_go_and_white_space_collapses() {
        let source = "pub fn f<'a>(\n\t#[cfg(unix)] x: &'a [u8],\n) -> u8 {\n    #![allow(unused)]\n    // Why.\n    \
                      #[rustfmt::skip]\n    let y = x[0]; /* done */\n    /// Inner.\n    fn g() {}\n    y\n}";
        assert_eq!(
            document(source).unwrap(),
            "pub fn f<'a>( x: &'a [u8], ) -> u8 { let y = x[0]; fn g() {} y }"
        );
    }

    #[test]
    fn no_tab_or_line_end_survives_within_a_string() {
        assert_eq!(
            document("fn f() { \"a\n\t b // c\" }").unwrap(),
            "fn f() { \"a b // c\" }"
        );
    }

    #[test]
    fn a_document_is_cut_at_characters() {
        let source = format!("fn f() {{ \"{}\" }}", "ü".repeat(2 * MAX_CHARS));
        assert_eq!(document(&source).unwrap().chars().count(), MAX_CHARS);
    }

    #[test]
    fn a_hash_outside_an_attribute_stays() {
        assert_eq!(
            document("fn f() { quote!(#x #!y r#\"z\"#) }").unwrap(),
            "fn f() { quote!(#x #!y r#\"z\"#) }"
        );
    }
}

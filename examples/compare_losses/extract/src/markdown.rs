//! Plain text of a paragraph of Markdown: links give their text, marks of emphasis and code go.

/// HTML elements that documentation uses within a line.
const TAGS: [&str; 11] = [
    "sup", "sub", "b", "i", "em", "strong", "code", "br", "kbd", "a", "span",
];

const ENTITIES: [(&str, &str); 5] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
    ("&nbsp;", " "),
    ("&quot;", "\""),
];

/// The text that a reader of the rendered paragraph sees.
///
/// This covers what doc comments use; a construct that it doesn't know stays as written.
pub(crate) fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut rest = markdown;
    while let Some(first) = rest.chars().next() {
        let after_word = out.ends_with(char::is_alphanumeric);
        let (text, length) = match first {
            '\\' => escape(rest),
            '`' => code(rest),
            '!' if rest.starts_with("![") => image(rest),
            '[' => link(rest),
            '*' | '_' => emphasis(rest, first, after_word),
            '<' => tag(rest),
            '&' => entity(rest),
            _ => None,
        }
        .unwrap_or_else(|| (first.to_string(), first.len_utf8()));
        out.push_str(&text);
        rest = &rest[length..];
    }
    out
}

// Each of these takes the construct at the start of `text`, and gives its plain text and its length in bytes.

fn escape(text: &str) -> Option<(String, usize)> {
    let next = text[1..]
        .chars()
        .next()
        .filter(char::is_ascii_punctuation)?;
    Some((next.to_string(), 2))
}

/// A code span: as many backticks close it as have opened it, and nothing within is Markdown.
fn code(text: &str) -> Option<(String, usize)> {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let fence = &text[..ticks];
    let inner = &text[ticks..];
    let length = inner.find(fence)?;
    Some((inner[..length].trim().to_owned(), 2 * ticks + length))
}

fn image(text: &str) -> Option<(String, usize)> {
    let label = bracketed(&text[1..], '[', ']')?;
    let target = bracketed(&text[1 + label..], '(', ')').unwrap_or(0);
    Some((String::new(), 1 + label + target))
}

/// `[text](target)`, `[text][target]` or `[text]`; the last only if it can't be an interval or a slice.
fn link(text: &str) -> Option<(String, usize)> {
    let label = bracketed(text, '[', ']')?;
    let inner = &text[1..label - 1];
    let target =
        bracketed(&text[label..], '(', ')').or_else(|| bracketed(&text[label..], '[', ']'));
    let is_name =
        inner.starts_with(|c: char| c.is_alphabetic() || c == '`') && !inner.contains([',', ';']);
    (target.is_some() || is_name).then(|| (plain(inner), label + target.unwrap_or(0)))
}

/// Length of the balanced brackets that `text` starts with; code spans within don't count.
fn bracketed(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    let mut in_code = false;
    for (index, c) in text.char_indices() {
        match c {
            '`' => in_code = !in_code,
            _ if in_code => {}
            _ if c == open => depth += 1,
            _ if c == close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (index > 0).then_some(index + 1);
        }
    }
    None
}

/// A run of `*` or `_` round a text that starts and ends without space; `a * b`, `2*x` and `snake_case` stay.
fn emphasis(text: &str, mark: char, after_word: bool) -> Option<(String, usize)> {
    let inner = text.trim_start_matches(mark);
    let marks = &text[..text.len() - inner.len()];
    if after_word || !inner.starts_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    let length = inner
        .match_indices(marks)
        .map(|(index, _)| index)
        .find(|&index| {
            let closes = !inner[..index].ends_with(char::is_whitespace);
            closes
                && !inner[index + marks.len()..]
                    .starts_with(|c: char| c.is_alphanumeric() || c == mark)
        })?;
    Some((plain(&inner[..length]), length + 2 * marks.len()))
}

fn tag(text: &str) -> Option<(String, usize)> {
    let end = text.find('>')?;
    let name = text[1..end].trim_start_matches('/');
    let name = name.split([' ', '/']).next()?;
    TAGS.contains(&name).then(|| (String::new(), end + 1))
}

fn entity(text: &str) -> Option<(String, usize)> {
    let (name, plain) = ENTITIES.iter().find(|(name, _)| text.starts_with(name))?;
    Some((plain.to_string(), name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_give_their_text() {
        assert_eq!(plain("a [`Vec<T>`] b"), "a Vec<T> b");
        assert_eq!(plain("[the docs](https://a.b/c_(d)) say"), "the docs say");
        assert_eq!(plain("[see `x[0]`][y] ok"), "see x[0] ok");
        assert_eq!(plain("![logo](x.svg)text"), "text");
    }

    #[test]
    fn intervals_and_open_brackets_stay() {
        assert_eq!(
            plain("in [0, 1) or [0, 1] or [a, b]"),
            "in [0, 1) or [0, 1] or [a, b]"
        );
    }

    #[test]
    fn emphasis_goes_and_arithmetic_and_names_stay() {
        assert_eq!(plain("**must** *not* _ever_ __do__"), "must not ever do");
        assert_eq!(
            plain("a * b, 2*x*y, snake_case_name, _unused"),
            "a * b, 2*x*y, snake_case_name, _unused"
        );
    }

    #[test]
    fn nothing_within_code_is_markdown() {
        assert_eq!(plain("`a[i] * *b` and ``c`d``"), "a[i] * *b and c`d");
        assert_eq!(plain("an open ` tick"), "an open ` tick");
    }

    #[test]
    fn escapes_tags_and_entities_are_resolved() {
        assert_eq!(
            plain(r"\[x\] O(n<sup>2</sup>) a &lt; b, x < y > z"),
            "[x] O(n2) a < b, x < y > z"
        );
    }
}

//! Finds the documented functions and methods with a body in a file.

use proc_macro2::Span;
use syn::{
    Attribute, Block, Expr, ExprLit, Lit, Meta, Signature, Visibility, spanned::Spanned, visit,
    visit::Visit,
};

use crate::test_code;

/// A function with documentation.
pub(crate) struct Function<'a> {
    /// All lines of the documentation, without the comment's marks.
    pub(crate) doc: String,
    /// The source from the visibility or signature to the end of the body.
    pub(crate) source: &'a str,
}

/// The documented functions of `syntax`, in source order; `text` is what it was parsed from.
pub(crate) fn documented<'a>(syntax: &syn::File, text: &'a str) -> Vec<Function<'a>> {
    let mut finder = Finder {
        text,
        found: Vec::new(),
    };
    finder.visit_file(syntax);
    finder.found
}

struct Finder<'a> {
    text: &'a str,
    found: Vec<Function<'a>>,
}

impl Finder<'_> {
    fn add(&mut self, attributes: &[Attribute], start: Span, body: &Block) {
        let doc = doc_text(attributes);
        if doc.trim().is_empty() || test_code::any_implies_test(attributes) {
            return;
        }
        let range = start.byte_range().start..body.span().byte_range().end;
        if let Some(source) = self.text.get(range) {
            self.found.push(Function { doc, source });
        }
    }
}

/// A private function begins at its signature: the span of an inherited visibility is empty.
fn start(visibility: &Visibility, signature: &Signature) -> Span {
    match visibility {
        Visibility::Inherited => signature.span(),
        stated => stated.span(),
    }
}

// The visits of functions don't recurse: a function within a function is part of the outer one's document.
impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.attrs, start(&item.vis, &item.sig), &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.attrs, start(&item.vis, &item.sig), &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.attrs, item.sig.span(), body);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !test_code::any_implies_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !test_code::any_implies_test(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    /// Looks into `cfg_feature! { fn … }`, as tokio writes its gates; tokens that are no items stay closed.
    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        let test_only = test_code::any_implies_test(&item.attrs);
        if !item.mac.path.is_ident("macro_rules")
            && !test_only
            && let Ok(inner) = item.mac.parse_body::<syn::File>()
        {
            for item in &inner.items {
                self.visit_item(item);
            }
        }
    }
}

/// The text of the `#[doc = "…"]` attributes, to which doc comments parse, one line each.
fn doc_text(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        let Meta::NameValue(pair) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(ExprLit {
            lit: Lit::Str(value),
            ..
        }) = &pair.value
        else {
            continue;
        };
        if !pair.path.is_ident("doc") {
            continue;
        }
        let value = value.value();
        // The lines of a block comment carry their stars.
        let is_block = value.contains('\n');
        // `lines` would give none for an empty comment line, which ends a paragraph.
        for line in value.split('\n').map(str::trim) {
            lines.push(
                if is_block {
                    line.trim_start_matches('*').trim()
                } else {
                    line
                }
                .to_owned(),
            );
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, String)> {
        let syntax = syn::parse_str(text).unwrap();
        documented(&syntax, text)
            .into_iter()
            .map(|f| (f.doc, f.source.to_owned()))
            .collect()
    }

    #[test]
    fn attributes_and_documentation_stay_outside_the_source() {
        let text = "/// Löst.\n#[inline]\n#[doc(hidden)]\npub(crate) const fn f(x: u8) -> u8 { x }";
        assert_eq!(
            found(text),
            [(
                "Löst.".into(),
                "pub(crate) const fn f(x: u8) -> u8 { x }".into()
            )]
        );
    }

    #[test]
    fn methods_with_a_body_count_and_signatures_do_not() {
        let text = "trait T { /// One.\n fn a(&self) { } /// Two.\n fn b(&self); }
            impl S { /// Three.\n fn c() { /// Four.\n fn inner() {} } fn undocumented() {} }";
        let docs: Vec<_> = found(text).into_iter().map(|(doc, _)| doc).collect();
        assert_eq!(docs, ["One.", "Three."]);
    }

    #[test]
    fn test_code_is_skipped() {
        let text = "#[cfg(test)] mod tests { /// No.\n fn a() {} } #[cfg(test)] impl S { /// No.\n fn b() {} }
            /// No.\n #[test] fn c() {} #[cfg(not(test))] mod m { /// Yes.\n fn d() {} }";
        let docs: Vec<_> = found(text).into_iter().map(|(doc, _)| doc).collect();
        assert_eq!(docs, ["Yes."]);
    }

    #[test]
    fn gates_written_as_macros_are_entered_and_definitions_are_not() {
        let text = "cfg_rt! { /// Yes.\n pub fn a() {} } macro_rules! m { () => { /// No.\n fn b() {} } } odd! { 1 + }";
        assert_eq!(found(text), [("Yes.".into(), "pub fn a() {}".into())]);
    }

    #[test]
    fn block_comments_and_attributes_join_as_lines() {
        let text = "/** One\n * two. */\n#[doc = \" Three.\"]\nfn f() {}";
        assert_eq!(found(text)[0].0, "One\ntwo.\nThree.");
    }

    #[test]
    fn empty_comment_lines_stay_as_ends_of_paragraphs() {
        assert_eq!(found("/// One\n///\n/// Two\nfn f() {}")[0].0, "One\n\nTwo");
    }
}

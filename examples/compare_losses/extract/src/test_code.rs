//! Tells code that only tests compile: `#[cfg(test)]`, `#[test]` and the files of test modules.

use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, Token, punctuated::Punctuated};

/// Whether one of the attributes keeps the item out of every build that is no test.
pub(crate) fn any_implies_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let is_test = path
            .segments
            .last()
            .is_some_and(|last| last.ident == "test" || last.ident == "bench");
        is_test
            || (path.is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|meta| implies_test(&meta)))
    })
}

/// Whether a `cfg` predicate can hold in test builds only.
fn implies_test(predicate: &Meta) -> bool {
    match predicate {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
        Meta::List(list) => {
            let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            else {
                return false;
            };
            if list.path.is_ident("all") {
                parts.iter().any(implies_test)
            } else {
                list.path.is_ident("any") && !parts.is_empty() && parts.iter().all(implies_test)
            }
        }
    }
}

/// Paths without `.rs` of the test modules that the file at `path` declares out of line.
pub(crate) fn module_files(path: &str, items: &[Item]) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let own = if ["lib", "main", "mod"].contains(&stem) {
        folder.to_owned()
    } else {
        join(folder, stem)
    };
    let mut files = Vec::new();
    collect(folder, &own, items, &mut files);
    files
}

fn collect(folder: &str, own: &str, items: &[Item], files: &mut Vec<String>) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        if let Some((_, items)) = &module.content {
            collect(folder, &join(own, &module.ident.to_string()), items, files);
        } else if any_implies_test(&module.attrs) {
            files.push(match explicit_path(&module.attrs) {
                Some(path) => join(folder, path.strip_suffix(".rs").unwrap_or(&path)),
                None => join(own, &module.ident.to_string()),
            });
        }
    }
}

fn explicit_path(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(path),
                    ..
                }) => Some(path.value()),
                _ => None,
            },
            _ => None,
        })
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_only(attribute: &str) -> bool {
        let item: syn::ItemFn = syn::parse_str(&format!("{attribute} fn f() {{}}")).unwrap();
        any_implies_test(&item.attrs)
    }

    #[test]
    fn a_predicate_counts_only_if_it_needs_test() {
        assert!(test_only("#[cfg(test)]"));
        assert!(test_only("#[cfg(all(test, feature = \"std\"))]"));
        assert!(test_only("#[cfg(any(test, all(test, unix)))]"));
        assert!(test_only("#[tokio::test]"));
        assert!(!test_only("#[cfg(not(test))]"));
        assert!(!test_only("#[cfg(any(test, feature = \"std\"))]"));
        assert!(!test_only("#[cfg(feature = \"test\")]"));
        assert!(!test_only("#[inline]"));
    }

    #[test]
    fn module_files_follow_the_rules_of_the_language() {
        let parse = |text| syn::parse_str::<syn::File>(text).unwrap().items;
        let plain = parse("#[cfg(test)] mod t; mod used; #[cfg(test)] mod inline {}");
        assert_eq!(module_files("lib.rs", &plain), ["t"]);
        assert_eq!(module_files("a/mod.rs", &plain), ["a/t"]);
        assert_eq!(module_files("a/b.rs", &plain), ["a/b/t"]);
        assert_eq!(
            module_files("a/b.rs", &parse("#[cfg(test)] #[path = \"x.rs\"] mod t;")),
            ["a/x"]
        );
        assert_eq!(
            module_files("b.rs", &parse("mod c { #[cfg(test)] mod t; }")),
            ["b/c/t"]
        );
    }
}

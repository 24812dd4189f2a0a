//! The `.rs` files of a crate, sorted by path, without the files that only its tests use.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use crate::test_code;

/// Folders and files that hold tests by their name alone.
const TEST_NAMES: [&str; 6] = [
    "tests", "test", "benches", "examples", "tests.rs", "test.rs",
];

/// A file that parses.
pub(crate) struct SourceFile {
    /// Path below the source folder, with `/` on every platform.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

/// What a source folder holds.
pub(crate) struct Sources {
    pub(crate) files: Vec<SourceFile>,
    /// Paths of files that are no Rust of this parser's grammar: templates, or syntax of a nightly compiler.
    pub(crate) unparsed: Vec<String>,
}

/// Reads and parses the `.rs` files below `folder`.
pub(crate) fn parsed(folder: &Path) -> Result<Sources> {
    let mut paths = BTreeSet::new();
    walk(folder, "", &mut paths)?;
    let mut sources = Sources {
        files: Vec::new(),
        unparsed: Vec::new(),
    };
    for path in paths {
        let file = folder.join(&path);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let Ok(text) = String::from_utf8(bytes) else {
            sources.unparsed.push(path);
            continue;
        };
        // A byte order mark would shift every span.
        let text = text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text);
        match syn::parse_str(&text) {
            Ok(syntax) => sources.files.push(SourceFile { path, text, syntax }),
            Err(_) => sources.unparsed.push(path),
        }
    }
    drop_test_modules(&mut sources.files);
    Ok(sources)
}

fn walk(folder: &Path, prefix: &str, paths: &mut BTreeSet<String>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if TEST_NAMES.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{path}/"), paths)?;
        } else if name.ends_with(".rs") {
            paths.insert(path);
        }
    }
    Ok(())
}

/// Drops the files of modules declared `#[cfg(test)] mod name;`, with their submodules.
fn drop_test_modules(files: &mut Vec<SourceFile>) {
    let modules: Vec<String> = files
        .iter()
        .flat_map(|file| test_code::module_files(&file.path, &file.syntax.items))
        .collect();
    files.retain(|file| {
        !test_code::any_implies_test(&file.syntax.attrs)
            && !modules.iter().any(|module| {
                let rest = file.path.strip_prefix(module.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.into(),
            syntax: syn::parse_str(text).unwrap(),
        }
    }

    #[test]
    fn files_of_test_modules_go_with_their_submodules() {
        let mut files = vec![
            file(
                "lib.rs",
                "#[cfg(test)] mod helpers; mod helpers_too; mod a;",
            ),
            file("helpers.rs", "mod deep;"),
            file("helpers/deep.rs", ""),
            file("helpers_too.rs", ""),
            file("a.rs", "#[cfg(all(test, feature = \"std\"))] mod check;"),
            file("a/check.rs", ""),
            file("check.rs", ""),
            file("whole.rs", "#![cfg(test)]"),
        ];
        drop_test_modules(&mut files);
        let left: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(left, ["lib.rs", "helpers_too.rs", "a.rs", "check.rs"]);
    }
}

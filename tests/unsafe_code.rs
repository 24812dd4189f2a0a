//! The list of unsafe code in the documentation is complete.

use std::collections::BTreeMap;
use std::path::Path;

/// How often `unsafe` introduces something in each source file, outside of comments.
fn found() -> BTreeMap<String, usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut directories, mut counts) = (vec![root.clone()], BTreeMap::new());
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("Rust is UTF-8");
            let code = source.lines().filter_map(|line| line.split("//").next());
            let words =
                code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
            let count = words.filter(|&word| word == "unsafe").count();
            let name = path.strip_prefix(&root).expect("below the root");
            if count > 0 {
                counts.insert(name.display().to_string(), count);
            }
        }
    }
    counts
}

/// The rows `| file | count | …` of the section "Unsafe code" in `lib.rs`.
fn listed() -> BTreeMap<String, usize> {
    let documentation = include_str!("../src/lib.rs");
    let (_, section) = documentation
        .split_once("# Unsafe code")
        .expect("the section");
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| {
            (
                cells[0].trim_end_matches('`').into(),
                cells[1].parse().expect("a count"),
            )
        })
        .collect()
}

#[test]
fn documentation_lists_all_unsafe_code() {
    assert_eq!(listed(), found());
}

#[test]
fn unsafe_code_is_where_it_belongs() {
    let stray: Vec<_> = found()
        .into_keys()
        .filter(|file| !file.starts_with("simd/") && !file.starts_with("gemm/"))
        .collect();
    assert!(stray.is_empty(), "{stray:?}");
}

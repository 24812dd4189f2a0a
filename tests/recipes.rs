//! The lines that the front page shows are those that the companions compile and test.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The code blocks of the front page that this crate can't compile: candle, burn, tch.
fn blocks() -> Vec<Vec<String>> {
    let page = read("src/lib.rs");
    let blocks = page.split("//! ```ignore\n").skip(1);
    blocks
        .map(|block| {
            let lines = block.lines().map_while(|line| line.strip_prefix("//! "));
            lines
                .take_while(|line| *line != "```")
                .map(String::from)
                .collect()
        })
        .collect()
}

#[test]
fn recipes_of_candle_and_burn_are_lines_of_their_companions() {
    let blocks = blocks();
    let sources = ["examples/candle", "examples/burn"].map(|companion| {
        let source = read(&format!("{companion}/src/objective.rs"));
        source
            .lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(blocks.len(), 3);
    for (block, source) in blocks.iter().zip(&sources) {
        assert_eq!(block.len(), 2);
        for line in block {
            assert!(source.contains(line), "not compiled anywhere: {line}");
        }
    }
}

//! Writes `data/code_search.tsv.gz` and `data/ATTRIBUTION.md` of the example from the crates pinned in `crates/`.

mod attribution;
mod duplicates;
mod functions;
mod licence;
mod manifest;
mod markdown;
mod output;
mod pair;
mod quota;
mod render;
mod report;
mod sentence;
mod sources;
mod test_code;
mod words;

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{
    pair::{Pair, Split},
    report::Report,
};

fn main() -> Result<()> {
    let here = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").context("start this program with `cargo run`")?,
    );
    let data = here.join("../data");
    let crates = manifest::pinned_crates(&here.join("crates/Cargo.toml"))?;

    let mut report = Report::default();
    let mut pairs = Vec::new();
    // Test first: of two duplicates the one met first stays, so that no training crate can alter the test set.
    for split in [Split::Test, Split::Validation, Split::Train] {
        for krate in crates.iter().filter(|krate| krate.split == split) {
            pairs.extend(extract(krate, &mut report)?);
        }
    }
    let pairs = duplicates::drop_exact(pairs, &mut report);
    let pairs = quota::limit(pairs, &mut report);
    let pairs = duplicates::drop_near_across_splits(pairs, &mut report);

    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let bytes = output::write_pairs(&data.join("code_search.tsv.gz"), &pairs)?;
    attribution::write(&data.join("ATTRIBUTION.md"), &crates)?;
    report.print(&pairs, &crates, bytes);
    Ok(())
}

/// All pairs of one crate, in the order of its sorted files.
fn extract(krate: &manifest::Crate, report: &mut Report) -> Result<Vec<Pair>> {
    let sources = sources::parsed(&krate.root.join("src"))?;
    report.unparsed.extend(
        sources
            .unparsed
            .iter()
            .map(|file| format!("{}: {file}", krate.name)),
    );
    let mut pairs = Vec::new();
    for file in &sources.files {
        for function in functions::documented(&file.syntax, &file.text) {
            report.documented += 1;
            let Some(query) = sentence::query(&function.doc) else {
                continue;
            };
            let document = render::document(function.source).with_context(|| {
                format!("{} {}: a function does not lex", krate.name, file.path)
            })?;
            pairs.push(Pair {
                split: krate.split,
                group: krate.name.clone(),
                query,
                document,
            });
        }
    }
    report.usable += pairs.len();
    Ok(pairs)
}

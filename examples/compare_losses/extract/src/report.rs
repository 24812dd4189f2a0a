//! Counts of what was kept and dropped, printed at the end of a run.

use crate::{
    manifest::Crate,
    pair::{Pair, Split},
};

/// What happened to the functions on their way into the data.
#[derive(Default)]
pub(crate) struct Report {
    /// Functions with a body and documentation.
    pub(crate) documented: usize,
    /// Of these, functions whose first sentence is a usable query.
    pub(crate) usable: usize,
    pub(crate) same_query: usize,
    pub(crate) same_document: usize,
    pub(crate) over_quota: usize,
    /// Near-duplicates dropped from each split, indexed by `Split as usize`.
    pub(crate) near: [usize; 3],
    /// Files that don't parse, as `crate: path`.
    pub(crate) unparsed: Vec<String>,
}

impl Report {
    pub(crate) fn print(&self, pairs: &[Pair], crates: &[Crate], bytes: usize) {
        for file in &self.unparsed {
            println!("does not parse, left out: {file}");
        }
        println!(
            "documented functions with a body      {:>7}",
            self.documented
        );
        println!("with a usable first sentence          {:>7}", self.usable);
        println!(
            "dropped: query seen before            {:>7}",
            self.same_query
        );
        println!(
            "dropped: document seen before         {:>7}",
            self.same_document
        );
        println!(
            "dropped: over the crate's quota       {:>7}",
            self.over_quota
        );
        println!(
            "dropped from validation: near test    {:>7}",
            self.near[Split::Validation as usize]
        );
        println!(
            "dropped from train: near held-out     {:>7}",
            self.near[Split::Train as usize]
        );
        println!("kept                                  {:>7}", pairs.len());
        println!("bytes of the data file                {bytes:>7}\n");
        println!("| split | crates | pairs | pairs of each crate |\n| --- | ---: | ---: | --- |");
        for split in Split::ALL {
            let members = || crates.iter().filter(|krate| krate.split == split);
            let each: Vec<_> = members()
                .map(|krate| format!("{} {}", krate.name, count(pairs, &krate.name)))
                .collect();
            let total = pairs.iter().filter(|pair| pair.split == split).count();
            println!(
                "| {split} | {} | {total} | {} |",
                members().count(),
                each.join(", ")
            );
        }
    }
}

fn count(pairs: &[Pair], group: &str) -> usize {
    pairs.iter().filter(|pair| pair.group == group).count()
}

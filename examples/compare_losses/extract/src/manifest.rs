//! The pinned crates: fetched by cargo, located by `cargo metadata`, assigned to a split by the manifest's own table.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{licence, pair::Split};

/// One platform is enough to find the sources, and spares the download of the others' system bindings.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// A crate that pairs are taken from.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression (or the older form with a slash) of the package.
    pub(crate) licence: String,
    pub(crate) authors: Vec<String>,
    pub(crate) repository: String,
    pub(crate) root: PathBuf,
    pub(crate) split: Split,
}

/// The direct dependencies of `manifest` in the versions of its lock file, sorted by name.
pub(crate) fn pinned_crates(manifest: &Path) -> Result<Vec<Crate>> {
    cargo(manifest, &["fetch", "--target", PLATFORM])?;
    let json = cargo(
        manifest,
        &[
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            PLATFORM,
        ],
    )?;
    from_metadata(&serde_json::from_slice(&json).context("`cargo metadata` printed no JSON")?)
}

fn cargo(manifest: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .arg("--locked")
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "`cargo {}` failed on {}",
        arguments.join(" "),
        manifest.display()
    );
    Ok(output.stdout)
}

fn from_metadata(metadata: &Value) -> Result<Vec<Crate>> {
    let root = text(&metadata["resolve"]["root"]).context("the metadata name no root package")?;
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let node = list(&metadata["resolve"]["nodes"])
        .find(|node| node["id"] == root)
        .context("the metadata do not resolve the root package")?;
    let held_out = held_out(&packages[root]["metadata"]["splits"])?;
    let mut crates = Vec::new();
    for id in list(&node["dependencies"]) {
        let package = id
            .as_str()
            .and_then(|id| packages.get(id))
            .context("a dependency without a package")?;
        crates.push(from_package(package, &held_out)?);
    }
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    for name in held_out.keys() {
        ensure!(
            crates.iter().any(|krate| krate.name == *name),
            "{name} has a split but is no dependency"
        );
    }
    Ok(crates)
}

/// Reads `[package.metadata.splits]`; a crate that it doesn't name is for training.
fn held_out(splits: &Value) -> Result<BTreeMap<String, Split>> {
    let mut held_out = BTreeMap::new();
    for (key, split) in [("validation", Split::Validation), ("test", Split::Test)] {
        ensure!(
            splits[key].is_array(),
            "the manifest has no list `package.metadata.splits.{key}`"
        );
        for name in list(&splits[key]) {
            let name =
                text(name).with_context(|| format!("`{key}` holds something that is no name"))?;
            if held_out.insert(name.to_owned(), split).is_some() {
                bail!("{name} is held out twice");
            }
        }
    }
    Ok(held_out)
}

fn from_package(package: &Value, held_out: &BTreeMap<String, Split>) -> Result<Crate> {
    let name = text(&package["name"])
        .context("a package without a name")?
        .to_owned();
    let licence = text(&package["license"])
        .with_context(|| format!("{name} states no licence"))?
        .to_owned();
    ensure!(
        licence::offers_mit(&licence),
        "{name} is not available under MIT but under {licence}"
    );
    let manifest =
        text(&package["manifest_path"]).with_context(|| format!("{name} has no manifest"))?;
    Ok(Crate {
        version: text(&package["version"])
            .with_context(|| format!("{name} has no version"))?
            .to_owned(),
        licence,
        authors: list(&package["authors"])
            .filter_map(|author| text(author).map(str::to_owned))
            .collect(),
        repository: text(&package["repository"]).unwrap_or_default().to_owned(),
        root: Path::new(manifest)
            .parent()
            .context("a manifest without a folder")?
            .to_owned(),
        split: held_out.get(&name).copied().unwrap_or(Split::Train),
        name,
    })
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(licence: &str) -> Value {
        json!({
            "packages": [
                {"id": "root", "name": "list", "metadata": {"splits": {"validation": ["b"], "test": []}}},
                {"id": "b 2", "name": "b", "version": "2.0.0", "license": "MIT", "authors": ["B"],
                 "repository": null, "manifest_path": "/src/b/Cargo.toml"},
                {"id": "a 1", "name": "a", "version": "1.0.0", "license": licence, "authors": [],
                 "repository": "https://example.org/a", "manifest_path": "/src/a/Cargo.toml"},
                {"id": "a 9", "name": "a", "version": "9.0.0", "license": "GPL-3.0", "manifest_path": "/src/a9/Cargo.toml"},
            ],
            "resolve": {"root": "root", "nodes": [{"id": "root", "dependencies": ["b 2", "a 1"]}, {"id": "a 9"}]},
        })
    }

    #[test]
    fn direct_dependencies_are_sorted_and_those_not_held_out_train() {
        let crates = from_metadata(&metadata("Apache-2.0 OR MIT")).unwrap();
        let seen: Vec<_> = crates
            .iter()
            .map(|c| (c.name.as_str(), c.version.as_str(), c.split))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "1.0.0", Split::Train),
                ("b", "2.0.0", Split::Validation)
            ]
        );
        assert_eq!(crates[1].root, Path::new("/src/b"));
    }

    #[test]
    fn a_crate_without_mit_stops_the_run_by_name() {
        let error = from_metadata(&metadata("Apache-2.0"))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "a is not available under MIT but under Apache-2.0");
    }

    #[test]
    fn a_held_out_crate_must_be_a_dependency() {
        let mut metadata = metadata("MIT");
        metadata["packages"][0]["metadata"]["splits"]["test"] = json!(["c"]);
        assert_eq!(
            from_metadata(&metadata).unwrap_err().to_string(),
            "c has a split but is no dependency"
        );
    }
}

//! The attribution file: each crate's version, licence and copyright, and the licence texts.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    licence::{self, Notice},
    manifest::Crate,
};

const HEAD: &str = "\
# Attribution of the data

`code_search.tsv.gz` holds the first sentence of doc comments and the beginnings of functions, taken from the published
crates below: comments and attributes removed, white space collapsed, cut to a fixed length. Every crate is available
under the MIT licence, and the excerpts are used under it; its texts stand at the end. The file is no part of the
published package. The command in `../extract/README.md` writes this page, too.
";

/// The text for crates whose package has no file of it: the licence as the SPDX list has it.
const STANDARD: &str = "\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the \
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit \
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR \
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR \
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.";

/// Writes the page for `crates`, which come sorted by name.
pub(crate) fn write(path: &Path, crates: &[Crate]) -> Result<()> {
    let mut noted = Vec::new();
    for krate in crates {
        noted.push((krate, licence::notice(&krate.root)?));
    }
    fs::write(path, page(&noted)).with_context(|| format!("cannot write {}", path.display()))
}

fn page(crates: &[(&Crate, Notice)]) -> String {
    let mut page = format!(
        "{HEAD}\n## Crates\n\n| crate | version | licence | copyright |\n| --- | --- | --- | --- |\n"
    );
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut without_text: Vec<&str> = Vec::new();
    for (krate, notice) in crates {
        let holders = holders(krate, notice)
            .replace('|', "\\|")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        // Writing to a string can't fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {holders} |",
            krate.name, krate.version, krate.licence
        );
        if notice.mit.is_none() {
            without_text.push(&krate.name);
        }
        let text = notice.mit.clone().unwrap_or_else(|| STANDARD.to_owned());
        texts.entry(text).or_default().push(&krate.name);
    }
    if !without_text.is_empty() {
        let names = without_text.join(", ");
        let _ = writeln!(
            page,
            "\nNo licence text is in the packages of {names}; the standard one stands for theirs."
        );
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    for (number, (text, names)) in (1..).zip(texts) {
        let (names, text) = (names.join(", "), quoted(&text));
        let _ = write!(
            page,
            "\n## MIT licence, text {number}\n\nOf {names}:\n\n{text}\n"
        );
    }
    page
}

/// The text as a block quote, one paragraph a line.
fn quoted(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| format!("> {line}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// The statements of copyright; where they name no one, also the package's authors, or else where it comes from.
fn holders(krate: &Crate, notice: &Notice) -> String {
    let stated = notice.copyright.join("; ");
    if stated
        .replace("Copyright (c)", "")
        .contains(char::is_alphabetic)
    {
        return stated;
    }
    let stated = if stated.is_empty() {
        "no copyright line"
    } else {
        &stated
    };
    if krate.authors.is_empty() {
        format!("{stated}; the contributors of {}", krate.repository)
    } else {
        // Names are enough: addresses of people don't belong into another repository.
        let names = krate
            .authors
            .iter()
            .map(|author| author.split('<').next().unwrap_or_default().trim());
        format!(
            "{stated}; authors: {}",
            names.collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::pair::Split;

    fn krate(name: &str, authors: &[&str]) -> Crate {
        Crate {
            name: name.into(),
            version: "1.2.3".into(),
            licence: "MIT".into(),
            authors: authors.iter().map(|&author| author.into()).collect(),
            repository: "https://example.org".into(),
            root: PathBuf::new(),
            split: Split::Train,
        }
    }

    #[test]
    fn a_text_shared_by_crates_stands_once() {
        let (a, b, c) = (krate("a", &["A"]), krate("b", &[]), krate("c", &[]));
        let noted = Notice {
            copyright: vec!["Copyright (c) 2020 C".into()],
            mit: Some("Another text.".into()),
        };
        let page = page(&[
            (&a, Notice::default()),
            (&b, Notice::default()),
            (&c, noted),
        ]);
        assert_eq!(page.matches(&quoted(STANDARD)).count(), 1);
        assert!(page.contains("in the packages of a, b; the standard"));
        assert!(page.contains("text 1\n\nOf a, b:\n\n> Permission is"));
        assert!(page.contains("text 2\n\nOf c:\n\n> Another text.\n"));
        assert!(page.contains("| a | 1.2.3 | MIT | no copyright line; authors: A |"));
        assert!(page.contains(
            "| b | 1.2.3 | MIT | no copyright line; the contributors of https://example.org |"
        ));
        assert!(page.contains("| c | 1.2.3 | MIT | Copyright (c) 2020 C |"));
    }

    #[test]
    fn a_copyright_line_without_a_name_is_completed_by_the_authors() {
        let notice = Notice {
            copyright: vec!["Copyright (c) 2015-2017".into()],
            mit: None,
        };
        assert_eq!(
            holders(&krate("a", &["A <a@example.org>", "B"]), &notice),
            "Copyright (c) 2015-2017; authors: A, B"
        );
    }
}

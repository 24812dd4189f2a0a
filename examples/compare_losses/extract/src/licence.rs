//! Licences of a crate: whether MIT is on offer, and the copyright lines and MIT text of its files.

use std::{fs, path::Path};

use anyhow::{Context, Result};

const MIT_START: &str = "Permission is hereby granted, free of charge";
const MIT_END: &str = "DEALINGS IN THE SOFTWARE.";

/// What a crate's licence files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Statements of copyright beside an MIT text, or in a file of copyrights.
    pub(crate) copyright: Vec<String>,
    /// The MIT text from its grant on, if a file has it.
    pub(crate) mit: Option<String>,
}

/// Whether MIT alone is one of the alternatives of a licence expression.
pub(crate) fn offers_mit(expression: &str) -> bool {
    // A parenthesis would group an AND; no crate of the list has one, and a new one should be looked at.
    expression
        .replace('/', " OR ")
        .split(" OR ")
        .any(|alternative| alternative.trim() == "MIT")
}

/// Reads the licence files at the root of a crate, in the order of their names.
pub(crate) fn notice(root: &Path) -> Result<Notice> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        let name = entry
            .with_context(|| format!("cannot list {}", root.display()))?
            .file_name();
        let lower = name.to_string_lossy().to_lowercase();
        if ["licen", "copying", "copyright", "notice"]
            .iter()
            .any(|start| lower.starts_with(start))
        {
            names.push(name);
        }
    }
    names.sort();
    let mut notice = Notice::default();
    for name in names {
        let path = root.join(&name);
        if !path.is_file() {
            continue;
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_list = name
            .to_string_lossy()
            .to_lowercase()
            .starts_with("copyright");
        notice.add(&String::from_utf8_lossy(&text), is_list);
    }
    Ok(notice)
}

impl Notice {
    fn add(&mut self, text: &str, is_list: bool) {
        let mit = mit_text(text);
        if mit.is_some() || is_list {
            for statement in copyright_statements(text) {
                if !self.copyright.contains(&statement) {
                    self.copyright.push(statement);
                }
            }
        }
        self.mit = self.mit.take().or(mit);
    }
}

/// The copyright lines of `text`, each with the lines that continue it up to the end of its paragraph.
fn copyright_statements(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim) {
        let tail = line
            .find("Copyright (c)")
            .map_or(line, |start| &line[start..]);
        if is_copyright(tail) {
            found.push(tail.to_owned());
            open = true;
        } else if line.is_empty() || line.starts_with("Copyright") || line.starts_with("Permission")
        {
            open = false;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            last.push(' ');
            last.push_str(line);
        }
    }
    found
}

/// A line with a holder or a year; not a sentence about copyright, nor the blank form of the Apache licence.
fn is_copyright(line: &str) -> bool {
    let rest = line.strip_prefix("Copyright").map_or("", str::trim_start);
    let marked = ["(c)", "(C)", "©"]
        .iter()
        .any(|mark| rest.starts_with(mark));
    (marked || rest.starts_with(|c: char| c.is_ascii_digit())) && !line.contains(['[', '{'])
}

/// From the grant to the end of the disclaimer, one paragraph a line.
fn mit_text(text: &str) -> Option<String> {
    let start = text.find(MIT_START)?;
    let paragraphs = text[start..].replace("\r\n", "\n");
    let paragraphs = paragraphs
        .split("\n\n")
        .map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let joined = paragraphs
        .filter(|paragraph| !paragraph.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    let end = joined.find(MIT_END)? + MIT_END.len();
    Some(joined[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mit_must_be_an_alternative_of_its_own() {
        for yes in [
            "MIT",
            "Apache-2.0 OR MIT",
            "Unlicense/MIT",
            "Apache-2.0 WITH LLVM-exception OR MIT",
        ] {
            assert!(offers_mit(yes), "{yes}");
        }
        for no in [
            "Apache-2.0",
            "MIT AND BSD-3-Clause",
            "MIT-0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ] {
            assert!(!offers_mit(no), "{no}");
        }
    }

    #[test]
    fn holders_and_the_text_are_found_and_blank_forms_are_not() {
        let text = "The MIT License\n\nCopyright (c) 2015 A,\n  B\nCopyright notices are kept.\n\nPermission is hereby granted, \
                    free of charge, to\nany person.\n\n\nThe above ... USE OR OTHER\nDEALINGS IN THE SOFTWARE.\n\nMore.";
        let mut notice = Notice::default();
        notice.add("Copyright [yyyy] [name]", true);
        notice.add(text, false);
        notice.add("Copyright (c) 1999 Of another licence", false);
        assert_eq!(notice.copyright, ["Copyright (c) 2015 A, B"]);
        let expected = "Permission is hereby granted, free of charge, to any person.\n\n\
                        The above ... USE OR OTHER DEALINGS IN THE SOFTWARE.";
        assert_eq!(notice.mit.as_deref(), Some(expected));
    }
}

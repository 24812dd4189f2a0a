//! Reads query–document pairs from `split TAB group TAB query TAB document`, plain or gzipped.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// How a gzipped file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// How spreadsheets let a file of text begin.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A query and the one document that answers it. `group` is the crate that both come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) group: String,
    pub(crate) query: String,
    pub(crate) document: String,
}

/// The three splits; whole groups belong to one split.
#[derive(Debug, Default)]
pub(crate) struct Dataset {
    pub(crate) train: Vec<Pair>,
    pub(crate) validation: Vec<Pair>,
    pub(crate) test: Vec<Pair>,
}

/// What is wrong with the data, where.
#[derive(Debug)]
pub(crate) struct DataError {
    path: PathBuf,
    line: Option<usize>,
    what: String,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.what),
            None => write!(f, "{}: {}", self.path.display(), self.what),
        }
    }
}

impl std::error::Error for DataError {}

impl Dataset {
    /// Reads a file, gzipped or not: its first bytes tell, whatever its name.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let fail = |what, error| DataError {
            path: path.into(),
            line: None,
            what: format!("cannot be {what}: {error}"),
        };
        let file = File::open(path).map_err(|error| fail("opened", error))?;
        let mut reader = BufReader::new(file);
        let first = reader.fill_buf().map_err(|error| fail("read", error))?;
        if first.starts_with(&GZIP) {
            Self::parse(BufReader::new(MultiGzDecoder::new(reader)), path)
        } else {
            Self::parse(reader, path)
        }
    }

    /// Parses the lines of `reader`; `path` is for the messages only.
    fn parse(mut reader: impl BufRead, path: &Path) -> Result<Self, DataError> {
        let fail = |line, what| DataError {
            path: path.into(),
            line,
            what,
        };
        let mut dataset = Self::default();
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            let read = reader.read_line(&mut line);
            if read.map_err(|error| fail(Some(number), format!("cannot be read: {error}")))? == 0 {
                break;
            }
            let text = line.trim_end_matches(['\n', '\r']);
            let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            dataset.add(text).map_err(|what| fail(Some(number), what))?;
        }
        dataset.check().map_err(|what| fail(None, what))?;
        Ok(dataset)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[split, group, query, document] = fields.as_slice() else {
            let found = fields.len();
            return Err(format!(
                "expected 4 fields (split, group, query, document) between tabs, found {found}"
            ));
        };
        for (name, field) in [("group", group), ("query", query), ("document", document)] {
            if field.trim().is_empty() {
                return Err(format!("the {name} is empty"));
            }
        }
        let pairs = match split {
            "train" => &mut self.train,
            "validation" => &mut self.validation,
            "test" => &mut self.test,
            _ => {
                return Err(format!(
                    "expected the split train, validation or test, found '{split}'"
                ));
            }
        };
        pairs.push(Pair {
            group: group.into(),
            query: query.into(),
            document: document.into(),
        });
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        for (name, pairs) in [
            ("train", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ] {
            match pairs.len() {
                0 => return Err(format!("no line of the split '{name}'")),
                1 => {
                    return Err(format!(
                        "only one line of the split '{name}', at least two are needed"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const GOOD: &str = "train\ta\tq 1\td 1\ntrain\ta\tq 2\td 2\nvalidation\tb\tq 3\td 3\nvalidation\tb\tq 4\td 4\n\
                        test\tc\tq 5\td 5\r\ntest\tc\tq 6\td 6";

    fn parse(text: &[u8]) -> Result<Dataset, String> {
        Dataset::parse(text, Path::new("pairs.tsv")).map_err(|error| error.to_string())
    }

    #[test]
    fn splits_are_read_in_order_and_line_ends_are_dropped() {
        let data = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(
            (data.train.len(), data.validation.len(), data.test.len()),
            (2, 2, 2)
        );
        assert_eq!(
            data.test[0],
            Pair {
                group: "c".into(),
                query: "q 5".into(),
                document: "d 5".into()
            }
        );
        assert_eq!(data.test[1].document, "d 6");
    }

    #[test]
    fn a_malformed_line_is_named_with_its_number() {
        let message = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            message("train\ta\tq\td\ntrain\tq\td\n"),
            "pairs.tsv:2: expected 4 fields (split, group, query, document) between tabs, found 3"
        );
        assert_eq!(
            message("trian\ta\tq\td"),
            "pairs.tsv:1: expected the split train, validation or test, found 'trian'"
        );
        assert_eq!(message("train\ta\t \td"), "pairs.tsv:1: the query is empty");
        assert_eq!(
            message("\n"),
            "pairs.tsv:1: expected 4 fields (split, group, query, document) between tabs, found 1"
        );
    }

    #[test]
    fn invalid_utf8_is_an_error_of_its_line() {
        let message = parse(b"train\ta\tq\td\ntrain\ta\t\xff\td\n").unwrap_err();
        assert!(
            message.starts_with("pairs.tsv:2: cannot be read"),
            "{message}"
        );
    }

    #[test]
    fn a_split_without_pairs_is_an_error() {
        assert_eq!(
            parse(b"").unwrap_err(),
            "pairs.tsv: no line of the split 'train'"
        );
        let one = GOOD
            .lines()
            .filter(|line| !line.contains("q 6"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(
            parse(one.as_bytes()).unwrap_err(),
            "pairs.tsv: only one line of the split 'test', at least two are needed"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Dataset::read(Path::new("no/such/file.tsv"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("no/such/file.tsv: cannot be opened"),
            "{error}"
        );
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        assert!(parse(format!("\u{feff}{GOOD}").as_bytes()).is_ok());
    }

    /// What reading a file with these bytes says.
    fn read(name: &str, bytes: &[u8]) -> Result<Dataset, String> {
        let file = format!("compare_losses_{}_{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, bytes).unwrap();
        let result = Dataset::read(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).unwrap();
        result
    }

    #[test]
    fn gzip_is_told_by_its_bytes_and_not_by_the_name() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(GOOD.as_bytes()).unwrap();
        let gzipped = encoder.finish().unwrap();
        for bytes in [GOOD.as_bytes(), &gzipped] {
            assert!(read("a.tsv", bytes).is_ok() && read("b.gz", bytes).is_ok());
        }
        let cut = read("c.tsv.gz", &gzipped[..gzipped.len() / 2]).unwrap_err();
        assert!(cut.contains(": cannot be read: "), "{cut}");
    }
}

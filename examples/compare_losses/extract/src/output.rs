//! The data file: gzipped lines `split TAB group TAB query TAB document`, the same bytes from the same pairs.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};

use crate::pair::Pair;

/// Largest file that the repository takes.
const MAX_BYTES: usize = 1_500_000;

/// Writes the pairs, sorted by split with the order within it kept, and gives the file's size in bytes.
pub(crate) fn write_pairs(path: &Path, pairs: &[Pair]) -> Result<usize> {
    let bytes = compressed(pairs)?;
    ensure!(
        bytes.len() < MAX_BYTES,
        "the data take {} bytes, expected less than {MAX_BYTES}",
        bytes.len()
    );
    fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(bytes.len())
}

fn compressed(pairs: &[Pair]) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Pair> = pairs.iter().collect();
    sorted.sort_by_key(|pair| pair.split);
    // Neither a time nor a file name goes into the header: both would differ from run to run.
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    for Pair {
        split,
        group,
        query,
        document,
    } in sorted
    {
        for field in [group, query, document] {
            ensure!(
                !field.contains(['\t', '\n', '\r']),
                "a tab or line end in a field of {group}: {field:?}"
            );
        }
        writeln!(gzip, "{split}\t{group}\t{query}\t{document}")?;
    }
    Ok(gzip.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::pair::Split;

    #[test]
    fn the_same_pairs_give_the_same_bytes_with_no_time_in_them() {
        let pairs = [
            Pair::new(Split::Test, "a", "q1", "d1"),
            Pair::new(Split::Train, "b", "q2", "d2"),
        ];
        let bytes = compressed(&pairs).unwrap();
        assert_eq!(bytes, compressed(&pairs).unwrap());
        assert_eq!(bytes[4..8], [0; 4]);
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "train\tb\tq2\td2\ntest\ta\tq1\td1\n");
    }

    #[test]
    fn a_tab_in_a_field_is_an_error() {
        let error = compressed(&[Pair::new(Split::Test, "a", "q\tq", "d")])
            .unwrap_err()
            .to_string();
        assert_eq!(error, r#"a tab or line end in a field of a: "q\tq""#);
    }
}

//! Offsets: where the pieces of a flat array begin, and one end more.

use ndarray::ArrayView1;

use crate::error::Error;

/// Refuses offsets that do not cut `total` entries into rows: they begin at 0, never fall, and end at `total`. `rows` where their number is known.
pub(crate) fn check_offsets(
    name: &'static str,
    offsets: ArrayView1<'_, usize>,
    rows: Option<usize>,
    total: usize,
) -> Result<(), Error> {
    let expected = rows.map_or(offsets.len().max(1), |rows| rows + 1);
    if offsets.len() != expected {
        return Err(Error::Shape {
            name,
            expected: vec![expected],
            found: vec![offsets.len()],
        });
    }
    let mut least = 0;
    for (row, &found) in offsets.iter().enumerate() {
        let expected = match row {
            _ if row + 1 == expected => total..=total,
            0 => 0..=0,
            _ => least..=total,
        };
        // The only offset of no rows at all is both the first and the last.
        let first_is_zero = row > 0 || found == 0;
        if !expected.contains(&found) || !first_is_zero {
            return Err(Error::Offset {
                name,
                row,
                expected,
                found,
            });
        }
        least = found;
    }
    Ok(())
}

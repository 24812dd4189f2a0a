//! scratch
use crate::common::*;
#[test]
fn sum() {
    let mut h = 0u64;
    for (n, dim) in [(7, 9), (150, 70)] {
        for p in list::problems(list::all(), n, dim) {
            for b in p
                .solve()
                .bits()
                .into_iter()
                .chain(p.narrow().solve().bits())
            {
                h = h
                    .wrapping_mul(0x100000001b3)
                    .wrapping_add(b.0 ^ ((b.1 as u64) << 48) ^ b.2 as u64);
            }
        }
    }
    println!("CHECKSUM {h:x}");
}

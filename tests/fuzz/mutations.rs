//! Blind mutations of the corpus: no coverage guides them, but the corpus is what coverage has guided to, and any toolchain can run them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest input, as for the fuzzer.
const LONGEST: usize = 2048;

/// Files of a corpus, and a seed, from which all inputs follow.
pub(crate) struct Mutations {
    files: Vec<Vec<u8>>,
    state: u64,
}

impl Mutations {
    pub(crate) fn new(files: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { files, state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn file(&mut self) -> Vec<u8> {
        let index = self.below(self.files.len());
        self.files[index].clone()
    }

    /// A file with one to eight changes.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        let mut input = self.file();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        /// Numbers at which arithmetic changes: the ends of ranges, of their subnormals, and what is no number.
        const SINGLES: [f32; 8] = [
            0.0,
            -0.0,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-45,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
        ];
        const DOUBLES: [f64; 8] = [
            0.0,
            -0.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        let at = self.below(input.len());
        let rest = input.len() - at;
        let byte = (self.next() >> 56) as u8;
        match self.below(8) {
            0 if rest > 0 => input[at] ^= 1 << (byte % 8),
            1 if rest > 0 => input[at] = byte,
            2 if rest > 0 => input[at] = input[at].wrapping_add(1 + byte % 4),
            3 => input.insert(at, byte),
            4 => {
                let count = self.below(rest.min(64) + 1);
                input.drain(at..at + count);
            }
            5 => {
                let other = self.file();
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 if rest >= 4 => {
                let number = SINGLES[self.below(SINGLES.len())];
                input[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
            7 if rest >= 8 => {
                let number = DOUBLES[self.below(DOUBLES.len())];
                input[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            _ => input.push(byte),
        }
    }
}

/// Checks mutations for some time. One that does not hold is kept among the artifacts of the fuzzer. Returns how many were checked.
pub(crate) fn check_for(
    time: Duration,
    target: &str,
    mut mutations: Mutations,
    check: fn(&[u8]),
) -> usize {
    let end = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < end {
        let keep = KeepOnPanic {
            target,
            input: mutations.input(),
        };
        check(&keep.input);
        count += 1;
    }
    count
}

struct KeepOnPanic<'t> {
    target: &'t str,
    input: Vec<u8>,
}

impl Drop for KeepOnPanic<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let artifacts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/artifacts");
        let path: PathBuf = artifacts.join(format!("{}-mutation", self.target));
        let kept =
            std::fs::create_dir_all(&artifacts).and_then(|()| std::fs::write(&path, &self.input));
        match kept {
            Ok(()) => eprintln!("the input is kept in {}", path.display()),
            Err(error) => eprintln!("the input could not be kept: {error}"),
        }
    }
}

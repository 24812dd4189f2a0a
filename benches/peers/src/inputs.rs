//! The batch that every engine gets: seeded numbers in raw files, one a differentiable input.
//!
//! The rows stay clear of every hinge's kink, so that rounding can't switch a row on in one engine and off in another;
//! about three rows in four are active.

use std::fs;
use std::io;
use std::path::Path;

use ndarray::ArrayD;

use crate::case::{Case, Work};

/// f32 or f64 in little-endian files.
pub trait Number: contrastive::Scalar {
    fn from_double(value: f64) -> Self;
    fn into_double(self) -> f64;
    fn write(self, bytes: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Self;
}

impl Number for f32 {
    fn from_double(value: f64) -> Self {
        value as f32
    }
    fn into_double(self) -> f64 {
        f64::from(self)
    }
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("four bytes"))
    }
}

impl Number for f64 {
    fn from_double(value: f64) -> Self {
        value
    }
    fn into_double(self) -> f64 {
        self
    }
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_le_bytes());
    }
    fn read(bytes: &[u8]) -> Self {
        Self::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }
}

/// The arrays of [`Case::inputs`], in that order.
pub type Arrays<A> = Vec<ArrayD<A>>;

/// Whether pair i matches (cosine embedding loss): every other pair, in a scrambled order.
pub fn matches(row: usize) -> bool {
    scramble(row as u64, 0xC0) & 1 == 0
}

/// Writes the batch of `case` into `folder`, the pairs' labels (+1, −1) as `labels.bin`.
pub fn write_files(case: &Case, folder: &Path) -> io::Result<()> {
    if case.double {
        write_numbers::<f64>(case, folder)
    } else {
        write_numbers::<f32>(case, folder)
    }
}

fn write_numbers<A: Number>(case: &Case, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for ((name, _), array) in case.inputs().iter().zip(generate::<A>(case)) {
        let numbers = array.as_slice().expect("generated in standard layout");
        write_file(numbers.iter().copied(), &folder.join(format!("{name}.bin")))?;
    }
    let labels = (0..case.rows).map(|row| A::from_double(if matches(row) { 1.0 } else { -1.0 }));
    write_file(labels, &folder.join("labels.bin"))
}

/// Reads what [`write_files`] wrote.
pub fn read_files<A: Number>(case: &Case, folder: &Path) -> io::Result<Arrays<A>> {
    let read = |(name, shape): (&str, Vec<usize>)| {
        let numbers = read_file(&folder.join(format!("{name}.bin")))?;
        ArrayD::from_shape_vec(shape, numbers).map_err(io::Error::other)
    };
    case.inputs().into_iter().map(read).collect()
}

/// Numbers as a raw little-endian file.
pub fn write_file<A: Number>(numbers: impl Iterator<Item = A>, path: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    numbers.for_each(|number| number.write(&mut bytes));
    fs::write(path, bytes)
}

/// The numbers of a raw little-endian file.
pub fn read_file<A: Number>(path: &Path) -> io::Result<Vec<A>> {
    let bytes = fs::read(path)?;
    Ok(bytes.chunks_exact(size_of::<A>()).map(A::read).collect())
}

/// The batch itself: a first input of noise, the others as that input mixed with noise of their own.
pub fn generate<A: Number>(case: &Case) -> Arrays<A> {
    let inputs = case.inputs();
    let value = |input: usize, index: usize| {
        let base = index % case.dim + index / case.dim / repeats(case, input) * case.dim;
        let row = base / case.dim;
        let (signal, spread) = mixture(case.work, input, row);
        A::from_double(signal * noise(0, base) + spread * noise(input, index))
    };
    let array = |(input, (_, shape)): (usize, &(_, Vec<usize>))| {
        let numbers = (0..shape.iter().product()).map(|index| value(input, index));
        ArrayD::from_shape_vec(shape.clone(), numbers.collect())
            .expect("as many as the shape holds")
    };
    inputs.iter().enumerate().map(array).collect()
}

/// Rows of an input for each row of the first.
fn repeats(case: &Case, input: usize) -> usize {
    if input == 2 && case.negatives > 0 {
        case.negatives
    } else {
        1
    }
}

/// How much of the first input's row and how much noise make a row of another input.
fn mixture(work: Work, input: usize, row: usize) -> (f64, f64) {
    let rare = scramble(row as u64, 0xA1) & 1 == 0;
    match (work, input) {
        (_, 0) => (1.0, 0.0),
        // Cosine near ±0.5; a pair that doesn't match is inactive where it is negative.
        (Work::CosineEmbedding, _) if !matches(row) && rare => (-0.6, 1.0),
        (Work::CosineEmbedding, _) => (0.6, 1.0),
        // The negative is far in one row of four, else nearer than the positive.
        (Work::TripletMargin, 2) if rare && matches(row) => (1.0, 2.0),
        (Work::TripletMargin, 2) => (1.0, 0.5),
        (Work::TripletMargin, _) => (1.0, 1.0),
        (_, 1) => (0.5, 1.0),
        (_, _) => (0.3, 1.0),
    }
}

/// Uniform in [−1, 1), a function of its arguments only.
fn noise(input: usize, index: usize) -> f64 {
    let bits = scramble(index as u64, input as u64 + 1);
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// SplitMix64's finaliser.
fn scramble(index: u64, stream: u64) -> u64 {
    let mut z = index
        .wrapping_add(stream << 40)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

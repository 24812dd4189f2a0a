//! Inputs that are exact in either element type: integers of twelve bits from a generator, times powers of two.

/// An element type, and how far its numbers reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    F32,
    F64,
}

impl Type {
    pub(crate) const ALL: [Self; 2] = [Self::F32, Self::F64];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    pub(crate) fn epsilon(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::EPSILON),
            Self::F64 => f64::EPSILON,
        }
    }

    pub(crate) fn largest(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::MAX),
            Self::F64 => f64::MAX,
        }
    }

    pub(crate) fn smallest_normal(self) -> f64 {
        match self {
            Self::F32 => f64::from(f32::MIN_POSITIVE),
            Self::F64 => f64::MIN_POSITIVE,
        }
    }

    /// The exponent of the smallest subnormal number.
    pub(crate) fn smallest(self) -> i32 {
        match self {
            Self::F32 => -149,
            Self::F64 => -1074,
        }
    }
}

/// What the rows of a batch are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Ordinary,
    /// Rows of one number.
    OneColumn,
    /// Rows of 8192 numbers.
    Wide,
    /// The other row of the pair, or the positive, differs in the last bits of the twenty (f32) or forty (f64) behind the point.
    Parallel,
    Antiparallel,
    /// The same row twice.
    Duplicates,
    /// Multiples of the smallest subnormal number.
    Subnormal,
    /// Norms near the smallest for which the gradient of a cosine is finite.
    Tiny,
    /// Norms near the largest that do not overflow in the loss itself.
    Huge,
    /// The first coordinate is a million times the others.
    Dominant,
    /// A million rows that are the same.
    Million,
    /// Two candidates, the positive behind by 2⁻²³ (10⁻⁷).
    SmallGap,
    /// Two candidates, the positive behind by 1000.
    LargeGap,
}

impl Input {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::OneColumn => "D = 1",
            Self::Wide => "D = 8192",
            Self::Parallel => "nearly parallel",
            Self::Antiparallel => "nearly antiparallel",
            Self::Duplicates => "duplicates",
            Self::Subnormal => "subnormal rows",
            Self::Tiny => "tiny norms",
            Self::Huge => "huge norms",
            Self::Dominant => "dominant coordinate",
            Self::Million => "a million equal rows",
            Self::SmallGap => "gap 1e-7",
            Self::LargeGap => "gap 1e3",
        }
    }

    /// Rows of a part and numbers of a row.
    fn shape(self) -> [usize; 2] {
        match self {
            Self::OneColumn => [24, 1],
            Self::Wide => [6, 8192],
            Self::Million => [1, 3],
            Self::SmallGap | Self::LargeGap => [1, 2],
            _ => [24, 64],
        }
    }

    /// The number of rows over which the mean is taken, if it is nothing but one row repeated.
    pub(crate) fn repeated(self) -> Option<usize> {
        (self == Self::Million).then_some(1_000_000)
    }
}

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An odd number between −2047 and 2047: never zero.
    fn integer(&mut self) -> f64 {
        f64::from((self.next() >> 53) as i32 * 2 - 2047)
    }

    /// −1, 0 or 1.
    fn step(&mut self) -> f64 {
        f64::from((self.next() % 3) as i32 - 1)
    }
}

/// Some rows: `rows × dim` numbers, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) numbers: Vec<f64>,
}

impl Part {
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.numbers[row * self.dim..(row + 1) * self.dim]
    }
}

/// The parts of a batch: anchors (or x, or queries), what is drawn to them, and `others` more that are not. `extreme` powers of two are what the
/// loss bears of [`Input::Tiny`] and [`Input::Huge`].
pub(crate) fn parts(input: Input, number: Type, others: usize, extreme: [i32; 2]) -> Vec<Part> {
    let mut random = Random(input as u64);
    let [rows, dim] = input.shape();
    if matches!(input, Input::SmallGap | Input::LargeGap) {
        return gap(input);
    }
    let mut parts: Vec<Part> = (0..2 + others)
        .map(|_| Part {
            rows,
            dim,
            numbers: (0..rows * dim).map(|_| random.integer()).collect(),
        })
        .collect();
    let noise = match number {
        Type::F32 => 2_f64.powi(-10),
        Type::F64 => 2_f64.powi(-30),
    };
    let anchors = parts[0].numbers.clone();
    let mut draw = |of: &mut dyn FnMut(f64, f64) -> f64| {
        parts[1].numbers = anchors
            .iter()
            .map(|&x| of(x, noise * random.step()))
            .collect();
    };
    match input {
        Input::Parallel => draw(&mut |x, step| x + step),
        Input::Antiparallel => draw(&mut |x, step| -x - step),
        Input::Duplicates => draw(&mut |x, _| x),
        _ => {}
    }
    let power = match input {
        Input::Subnormal => number.smallest(),
        Input::Tiny => extreme[0],
        Input::Huge => extreme[1],
        _ => -10,
    };
    for part in &mut parts {
        for (index, x) in part.numbers.iter_mut().enumerate() {
            let dominant = input == Input::Dominant && index % dim == 0;
            // In two steps: 2^−1074 by itself is not a normal number.
            *x *= 2_f64.powi(power / 2);
            *x *= 2_f64.powi(power - power / 2);
            *x *= if dominant { 2_f64.powi(20) } else { 1.0 };
        }
    }
    parts
}

/// A query with dot products 1 and 1 + 2⁻²³, or 24 and 1024, with its document and another.
fn gap(input: Input) -> Vec<Part> {
    let scores = if input == Input::SmallGap {
        [1.0, 1.0 + 2_f64.powi(-23)]
    } else {
        [24.0, 1024.0]
    };
    let query = Part {
        rows: 1,
        dim: 2,
        numbers: vec![1.0, 0.0],
    };
    let documents = Part {
        rows: 2,
        dim: 2,
        numbers: vec![scores[0], 1.0, scores[1], -1.0],
    };
    vec![query, documents]
}

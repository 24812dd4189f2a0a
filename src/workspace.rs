//! Scratch memory of bounded size, owned by the caller and reused from call to call.

use crate::error::{Error, check};
use crate::scalar::Scalar;

/// Scratch memory for the losses that need some, reused between calls.
///
/// Row-wise losses take nothing from it, but for a distance of each pair where only hard pairs count. InfoNCE keeps its score tiles here: at most
/// [`limit`](Self::limit) bytes of them (64 MiB by default) whatever the batch, those of all prefixes of a [`Matryoshka`](crate::Matryoshka) together,
/// and beside them a few numbers per row; of queries with several positives also some bytes for each positive, at most as many again for a block of queries, but
/// of all at a time without in-batch negatives. Own negatives that are not in standard layout are copied. A batch of triplets that are too many to list keeps a number for each pair of rows, beyond the limit if need
/// be; all pairs of a batch keep as many as the limit holds. Beside these, both keep half a matrix of distances if it is within the limit and 16 MiB, and
/// list, outside of the workspace, pairs of rows too near each other for products: some thirty to fifty bytes each. A new workspace allocates nothing
/// until it is used; one that is kept from step to step spares each step the cost of fresh memory pages. Another limit sums scores in other portions,
/// and may change the last bits.
///
/// ```
/// use contrastive::{InfoNceInput, InfoNceLoss, Loss, Want, Workspace};
/// use ndarray::array;
///
/// let mut workspace = Workspace::with_limit(1 << 20)?; // 1 MiB of scores at a time
/// let loss = InfoNceLoss::new(0.5)?;
/// let queries = array![[1.0_f32, 0.0], [0.0, 1.0]];
/// for _step in 0..3 {
///     let input = InfoNceInput::new(queries.view(), queries.view());
///     let value = loss.evaluate(input, Want::value(), &mut workspace)?;
///     assert!((value - 0.126_928).abs() < 1e-6); // ln(1 + e⁻²)
/// }
/// # Ok::<(), contrastive::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Workspace<A> {
    limit: usize,
    pub(crate) scores: Buffer<A>,
    /// For passes that keep several matrices of scores: what each has for itself. Their scores are within this workspace's limit.
    parts: Vec<Workspace<A>>,
    /// For what stands for the queries: they themselves, and their positives.
    pub(crate) packed: [Buffer<A>; 2],
    pub(crate) guide: [Buffer<A>; 2],
    pub(crate) panels: [Buffer<A>; 2],
    pub(crate) gradients: [Buffer<A>; 2],
    pub(crate) lanes: Buffer<A>,
    pub(crate) sums: Buffer<f64>,
}

impl<A: Scalar> Workspace<A> {
    /// The default limit: 64 MiB of scores at a time.
    pub const DEFAULT_LIMIT: usize = 64 << 20;

    /// An empty workspace with the default limit.
    pub fn new() -> Self {
        Self {
            limit: Self::DEFAULT_LIMIT,
            scores: Buffer::default(),
            parts: Vec::new(),
            packed: Default::default(),
            guide: Default::default(),
            panels: Default::default(),
            gradients: Default::default(),
            lanes: Buffer::default(),
            sums: Buffer::default(),
        }
    }

    /// An empty workspace that holds at most `bytes` of scores at a time. The least that any pass needs is 64 KiB.
    ///
    /// # Errors
    /// If `bytes` is below 65,536.
    pub fn with_limit(bytes: usize) -> Result<Self, Error> {
        check(
            "workspace limit",
            "at least 65536 bytes",
            bytes as f64,
            bytes >= 1 << 16,
        )?;
        Ok(Self {
            limit: bytes,
            ..Self::new()
        })
    }

    /// A workspace for each of several matrices of scores, to be [put back](Self::keep_parts).
    pub(crate) fn take_parts(&mut self, count: usize) -> Vec<Self> {
        self.scores = Buffer::default();
        let mut parts = std::mem::take(&mut self.parts);
        parts.resize_with(count, Self::new);
        parts
    }

    /// Keeps parts for the next time.
    pub(crate) fn keep_parts(&mut self, parts: Vec<Self>) {
        self.parts = parts;
    }

    /// Gives back what the parts hold, so that one matrix has the limit to itself.
    pub(crate) fn drop_parts(&mut self) {
        self.parts.clear();
    }

    /// How many bytes of scores are held at a time.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl<A: Scalar> Default for Workspace<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory that grows to the largest request and is handed out aligned to cache lines. What it holds at first is unspecified.
#[derive(Debug, Clone)]
pub(crate) struct Buffer<T>(Vec<T>);

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Default> Buffer<T> {
    const LINE: usize = 64;

    /// `len` numbers, the first of them at the start of a cache line.
    pub(crate) fn take(&mut self, len: usize) -> &mut [T] {
        let padded = len + Self::LINE / size_of::<T>();
        if self.0.len() < padded {
            // A new allocation of zeros: the pages are touched by whoever uses them first, and nothing old is copied.
            self.0 = vec![T::default(); padded];
        }
        let start = self.0.as_ptr().align_offset(Self::LINE);
        // `align_offset` may in theory decline; then alignment is lost, not correctness.
        let start = if start + len <= self.0.len() {
            start
        } else {
            0
        };
        &mut self.0[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_cache_line_and_are_reused() {
        let mut buffer = Buffer::<f32>::default();
        let first = buffer.take(1000).as_ptr();
        assert_eq!(first as usize % 64, 0);
        assert_eq!(buffer.take(10).as_ptr(), first);
    }

    #[test]
    fn limit_below_the_least_tile_is_refused() {
        assert!(Workspace::<f32>::with_limit(65_535).is_err());
        assert_eq!(
            Workspace::<f32>::with_limit(65_536).unwrap().limit(),
            65_536
        );
    }
}

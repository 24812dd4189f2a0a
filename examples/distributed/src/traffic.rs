//! What a rank receives in a step, in bytes, when every rank has the same number of rows. It sends as much.

/// A batch that is spread over ranks.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub ranks: usize,
    /// Queries, and as many documents, of each rank.
    pub rows: usize,
    pub dim: usize,
    /// Bytes of an element.
    pub bytes: usize,
}

impl Batch {
    fn shard(&self) -> usize {
        self.rows * self.dim * self.bytes
    }

    /// All-gather of the documents and reduce-scatter of their gradients, by algorithms that move no byte twice:
    /// 2 (R − 1) shards.
    pub fn gathered(&self) -> usize {
        2 * (self.ranks - 1) * self.shard()
    }

    /// R − 1 shards for the losses; as many again for the gradients, which take R turns: 3 R − 2 shards.
    pub fn ring(&self) -> usize {
        match self.ranks {
            1 => 0,
            ranks => (3 * ranks - 2) * self.shard(),
        }
    }

    /// All documents, their gradients, those once more in blocks of one length, and what is left of them: 3 R + 1 shards.
    pub fn memory_gathered(&self) -> usize {
        (3 * self.ranks + 1) * self.shard()
    }

    /// The visitor, its gradient, and what a turn adds to it or brings in its place: 3 shards.
    pub fn memory_ring(&self) -> usize {
        3 * self.shard()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_three_ranks_are_those_counted_by_hand() {
        let batch = Batch {
            ranks: 3,
            rows: 10,
            dim: 5,
            bytes: 4,
        };
        // A shard has 200 bytes. Gathered: two from the others, twice. Ring: 2 + 2 of documents and 3 of gradients.
        assert_eq!((batch.gathered(), batch.ring()), (800, 1400));
        assert_eq!((batch.memory_gathered(), batch.memory_ring()), (2000, 600));
    }

    #[test]
    fn one_rank_receives_nothing() {
        let batch = Batch {
            ranks: 1,
            rows: 10,
            dim: 5,
            bytes: 4,
        };
        assert_eq!((batch.gathered(), batch.ring()), (0, 0));
    }
}

//! Which rank holds which rows of the batch, and how rows and gradients get from rank to rank.

use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::point_to_point::send_receive_into;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use mpi::{Count, Rank};
use ndarray::{Array2, Array3, ArrayView2, s};

use crate::Number;

/// The ranks of a communicator with the rows that each holds; they may differ, and be none.
pub struct Shards<'a> {
    world: &'a SimpleCommunicator,
    rows: Vec<usize>,
}

impl<'a> Shards<'a> {
    /// Tells all ranks how many `rows` this one has. A call of all ranks, as is every method that moves something.
    pub fn new(world: &'a SimpleCommunicator, rows: usize) -> Self {
        let mut all = vec![0_u64; world.size() as usize];
        world.all_gather_into(&(rows as u64), &mut all[..]);
        Self {
            world,
            rows: all.into_iter().map(|rows| rows as usize).collect(),
        }
    }

    pub fn ranks(&self) -> usize {
        self.rows.len()
    }

    /// This rank.
    pub fn own(&self) -> usize {
        self.world.rank() as usize
    }

    pub fn rows(&self, rank: usize) -> usize {
        self.rows[rank]
    }

    /// Rows of the ranks before `rank`.
    pub fn offset(&self, rank: usize) -> usize {
        self.rows[..rank].iter().sum()
    }

    pub fn total(&self) -> usize {
        self.rows.iter().sum()
    }

    /// The rows `[rows, dim]` of all ranks, one shard after the other: `[total, dim]`.
    pub fn all_gather<A: Number>(&self, own: ArrayView2<'_, A>) -> Array2<A> {
        let dim = own.ncols();
        let count = |rows| Count::try_from(rows * dim).expect("MPI counts up to 2³¹ elements");
        let counts: Vec<Count> = (0..self.ranks()).map(|r| count(self.rows(r))).collect();
        let starts: Vec<Count> = (0..self.ranks()).map(|r| count(self.offset(r))).collect();
        let mut all = Array2::zeros((self.total(), dim));
        self.world.all_gather_varcount_into(
            own.as_standard_layout()
                .as_slice()
                .expect("standard layout"),
            &mut PartitionMut::new(slice(&mut all), counts, starts),
        );
        all
    }

    /// The sum over all ranks of gradients `[total, dim]`, of which each rank keeps its own rows.
    ///
    /// MPI's blocks are of one length, so each shard travels as long as the longest.
    pub fn reduce_scatter<A: Number>(&self, gradient: ArrayView2<'_, A>) -> Array2<A> {
        let dim = gradient.ncols();
        let longest = self.rows.iter().copied().max().unwrap_or(0);
        let mut blocks = Array3::zeros((self.ranks(), longest, dim));
        for (rank, mut block) in blocks.outer_iter_mut().enumerate() {
            let rows = self.offset(rank)..self.offset(rank + 1);
            block
                .slice_mut(s![..rows.len(), ..])
                .assign(&gradient.slice(s![rows, ..]));
        }
        let mut own = Array2::zeros((longest, dim));
        self.world.reduce_scatter_block_into(
            blocks.as_slice().expect("standard layout"),
            slice(&mut own),
            SystemOperation::sum(),
        );
        own.slice_move(s![..self.rows(self.own()), ..])
    }

    /// The sum over all ranks, on all ranks.
    pub fn all_reduce<A: Number>(&self, mut values: Array2<A>) -> Array2<A> {
        let own = values.clone();
        self.world.all_reduce_into(
            own.as_slice().expect("standard layout"),
            slice(&mut values),
            SystemOperation::sum(),
        );
        values
    }

    /// Hands `rows` to the next rank of the ring and returns those of the one before, which belong to the shard `incoming`.
    pub fn pass_on<A: Number>(&self, rows: &Array2<A>, incoming: usize) -> Array2<A> {
        let (ranks, own) = (self.ranks(), self.own());
        let neighbour = |rank| self.world.process_at_rank(rank as Rank);
        let mut received = Array2::zeros((self.rows(incoming), rows.ncols()));
        send_receive_into(
            rows.as_slice().expect("standard layout"),
            &neighbour((own + 1) % ranks),
            slice(&mut received),
            &neighbour((own + ranks - 1) % ranks),
        );
        received
    }

    /// Whose shard a rank holds after the ring has turned `turns` times.
    pub fn visitor(&self, turns: usize) -> usize {
        (self.own() + self.ranks() - turns % self.ranks()) % self.ranks()
    }
}

fn slice<A>(rows: &mut Array2<A>) -> &mut [A] {
    rows.as_slice_mut().expect("standard layout")
}

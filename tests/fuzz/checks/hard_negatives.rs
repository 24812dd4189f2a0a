//! Searches for hard negatives.

use contrastive::{
    Error, FalseNegatives, HardNegativeInput, HardNegativeMiner, HardNegatives, Similarity,
};
use ndarray::{Array1, ArrayD};

use super::bytes::{Bits, Bytes};
use super::call::matrix;
use super::layout::{self, Laid, Layout};
use super::targets::{Chosen, ids_of};

#[derive(Debug)]
struct Search {
    miner: HardNegativeMiner,
    keep: usize,
    targets: Option<Chosen>,
    ids: Option<[Array1<u64>; 2]>,
    shapes: [Vec<usize>; 2],
}

/// Checks a search in numbers of either type.
pub(crate) fn check(bytes: &mut Bytes<'_>) -> Result<(), Error> {
    let search = Search::from(bytes)?;
    if bytes.flag() {
        search.check::<f32>(bytes);
    } else {
        search.check::<f64>(bytes);
    }
    Ok(())
}

impl Search {
    fn from(bytes: &mut Bytes<'_>) -> Result<Self, Error> {
        let keep = bytes.below(8);
        let similarity = bytes.one_of(&[
            Similarity::Cosine,
            Similarity::Dot,
            Similarity::SquaredEuclidean,
        ]);
        let mut miner = HardNegativeMiner::new(keep)?
            .with_similarity(similarity)
            .with_skip(match bytes.byte() {
                255 => usize::MAX,
                byte => usize::from(byte) % 4,
            });
        if bytes.below(3) == 0 {
            let margin = bytes.parameter(&[0.0, 0.1, -0.1, 1.0]);
            let rules = [
                FalseNegatives::Absolute(margin),
                FalseNegatives::Relative(margin),
            ];
            miner = miner.with_false_negatives(bytes.one_of(&rules))?;
        }
        let (n, m, dim) = (bytes.length(), bytes.length(), bytes.length());
        Ok(Self {
            miner,
            keep,
            targets: bytes.flag().then(|| Chosen::from(bytes, n, m)),
            ids: bytes
                .flag()
                .then(|| [n, m].map(|count| ids_of(bytes, count))),
            shapes: [vec![n, dim], vec![m, bytes.about(dim)]],
        })
    }

    fn check<A: Bits>(&self, bytes: &mut Bytes<'_>) {
        let queries: ArrayD<A> = bytes.array(&self.shapes[0], None);
        let documents = bytes.array(&self.shapes[1], Some(&queries));
        let layouts = [(); 2].map(|()| bytes.one_of(&layout::ALL));
        let plain = self.find([&queries, &documents], [Layout::Standard; 2]);
        let laid = self.find([&queries, &documents], layouts);
        match (plain, laid) {
            (Ok(plain), Ok(laid)) => {
                assert_eq!(plain, laid, "layouts {layouts:?} change what is found");
                (0..self.shapes[0][0]).for_each(|query| self.is_ranked(&plain, query));
            }
            (plain, laid) => assert_eq!(
                format!("{:?}", plain.map(|_| "found")),
                format!("{:?}", laid.map(|_| "found")),
                "the refusal depends on the layouts {layouts:?}"
            ),
        }
    }

    fn find<A: Bits>(
        &self,
        arrays: [&ArrayD<A>; 2],
        layouts: [Layout; 2],
    ) -> Result<HardNegatives<A>, Error> {
        let laid = [0, 1].map(|side| Laid::new(arrays[side], layouts[side], A::nan()));
        let [queries, documents] = laid.each_ref().map(|laid| matrix(&laid.view()));
        let mut input = HardNegativeInput::new(queries, documents);
        input.targets = self.targets.as_ref().map(Chosen::view);
        let ids = self.ids.as_ref();
        input.ids = ids.map(|[queries, documents]| (queries.view(), documents.view()));
        self.miner.find(input)
    }

    /// What was found for a query are documents that may be its negatives, each once, from the most similar on.
    fn is_ranked<A: Bits>(&self, found: &HardNegatives<A>, query: usize) {
        let (documents, scores) = (found.of(query), found.scores(query));
        assert!(documents.len() == scores.len() && documents.len() <= self.keep);
        let falling = scores.windows(2).all(|pair| pair[0] >= pair[1]);
        assert!(falling, "{scores:?}: {self:?}");
        for (at, &document) in documents.iter().enumerate() {
            assert!(document < self.shapes[1][0] && !documents[..at].contains(&document));
            if let Some([queries, documents]) = &self.ids {
                assert_ne!(queries[query], documents[document], "{self:?}");
            }
            let positive = match &self.targets {
                Some(Chosen::Aligned) => document == query,
                Some(Chosen::Index(index)) => document == index[query],
                _ => false,
            };
            assert!(!positive, "{documents:?} of {query}: {self:?}");
        }
    }
}

use super::*;
use crate::simd::{Kernel, available, dispatch_at};
use ndarray::{Array1, Array2, s};

/// x + y·2 and x·3, from x and y.
struct Sums<I: Isa>([I::Single; 2]);

impl<I: Isa> Singles<I, 2, 2> for Sums<I> {
    fn at(&self, [x, y]: [I::Single; 2]) -> [I::Single; 2] {
        let [two, three] = self.0;
        [I::single_fused(y, two, x), I::single_mul(x, three)]
    }
}

struct Write<'a> {
    from: [&'a [f32]; 2],
    rows: [Option<ArrayViewMut1<'a, f32>>; 2],
    stores: Stores,
}

impl Kernel for Write<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let sums = Sums::<I>([I::single(2.0), I::single(3.0)]);
        let mut nothing = Begun::NOTHING;
        let nothing = (Coming::default(), &mut nothing);
        write_ahead::<f32, I, 2, 2, 2>(&mut self.rows, self.from, self.stores, &sums, nothing);
    }
}

/// Where rows are: beginning at some columns of contiguous ones, or as a column of a matrix.
#[derive(Clone, Copy, Debug)]
enum Place {
    At(usize),
    Strided,
    Nowhere,
}

/// What lies in a row's place, and whether anything beside it was written.
fn written(
    place: Place,
    len: usize,
    write: impl FnOnce(Option<ArrayViewMut1<'_, f32>>),
) -> Vec<f32> {
    match place {
        Place::At(offset) => {
            let mut row = Array1::from_elem(offset + len + 3, -1.0);
            write(Some(row.slice_mut(s![offset..offset + len])));
            let outside = |i: usize| !(offset..offset + len).contains(&i);
            assert!((0..row.len()).all(|i| !outside(i) || row[i] == -1.0));
            row.slice(s![offset..offset + len]).to_vec()
        }
        Place::Strided => {
            let mut matrix = Array2::from_elem((len, 3), -1.0);
            write(Some(matrix.column_mut(1)));
            assert!(
                matrix
                    .column(0)
                    .iter()
                    .chain(matrix.column(2))
                    .all(|&x| x == -1.0)
            );
            matrix.column(1).to_vec()
        }
        Place::Nowhere => {
            write(None);
            Vec::new()
        }
    }
}

#[test]
fn rows_of_every_length_layout_and_place_are_written_whole_and_nothing_else() {
    let places = [
        Place::At(0),
        Place::At(1),
        Place::At(4),
        Place::At(9),
        Place::Strided,
        Place::Nowhere,
    ];
    for level in available() {
        for stores in [Stores::Cached, Stores::Streamed, Stores::Added] {
            // What rows hold before, of which nothing is left where they are overwritten.
            let before = if stores == Stores::Added { -1.0 } else { 0.0 };
            for len in (0..50).chain([255, 256, 300]) {
                let x: Vec<f32> = (0..len).map(|i| i as f32 + 0.5).collect();
                let y: Vec<f32> = (0..len).map(|i| 7.0 - i as f32).collect();
                for (first, second) in places
                    .iter()
                    .flat_map(|&first| places.map(|second| (first, second)))
                {
                    let mut other = Vec::new();
                    let sums = written(first, len, |one| {
                        other = written(second, len, |two| {
                            let (from, rows) = ([&x[..], &y[..]], [one, two]);
                            dispatch_at(level, Write { from, rows, stores });
                        });
                    });
                    let case = format!("{level:?} {stores:?} {len} {first:?} {second:?}");
                    let expected = x.iter().zip(&y).map(|(x, y)| before + (x + 2.0 * y));
                    assert!(
                        matches!(first, Place::Nowhere) || sums.iter().copied().eq(expected),
                        "{case}"
                    );
                    let expected = x.iter().map(|x| before + x * 3.0);
                    assert!(
                        matches!(second, Place::Nowhere) || other.iter().copied().eq(expected),
                        "{case}"
                    );
                }
            }
        }
    }
}

#[test]
fn rows_anywhere_in_their_pages_are_streamed_whole() {
    /// Columns of a page, and of a row.
    const PAGE: usize = 4096 / size_of::<f32>();
    const LEN: usize = 300;
    let from: Vec<f32> = (0..LEN).map(|i| i as f32 + 0.5).collect();
    for (ahead, backwards) in [
        (0, false),
        (1, true),
        (47, true),
        (48, false),
        (PAGE - 1, false),
    ] {
        for level in available() {
            let mut pages = vec![-1.0; 3 * PAGE];
            let (x, to) = pages.split_at_mut(PAGE);
            let x = &mut x[..LEN];
            x.copy_from_slice(&from);
            let to = &mut to[ahead..][..LEN];
            assert_eq!(is_shortly_ahead(to, x), backwards, "{ahead} columns");
            let rows = [Some(ArrayViewMut1::from(to)), None];
            let (both, stores) = ([&*x, &*x], Stores::Streamed);
            dispatch_at(
                level,
                Write {
                    from: both,
                    rows,
                    stores,
                },
            );
            let row = &pages[PAGE + ahead..][..LEN];
            let expected = from.iter().map(|x| 3.0 * x);
            assert!(
                row.iter().copied().eq(expected),
                "{level:?}, {ahead} columns"
            );
            let beside = [pages[PAGE + ahead - 1], pages[PAGE + ahead + LEN]];
            assert_eq!(beside, [-1.0; 2], "{level:?}, {ahead} columns");
        }
    }
}

#[test]
fn rows_that_lie_alike_are_streamed_whole_in_either_order() {
    const PAGE: usize = 4096 / size_of::<f32>();
    const LEN: usize = 300;
    let y: Vec<f32> = (0..LEN).map(|i| i as f32 - 7.25).collect();
    for (ahead, backwards) in [(0, false), (4, true), (60, false)] {
        for level in available() {
            let mut pages = vec![-1.0; 6 * PAGE];
            let first = pages.as_ptr().align_offset(align_of::<Line>());
            let pages = &mut pages[first..];
            let (x, targets) = pages.split_at_mut(PAGE);
            let x = &mut x[..LEN];
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = 2.5 * y);
            let (one, two) = targets.split_at_mut(2 * PAGE);
            let [one, two] = [one, two].map(|row| &mut row[ahead..][..LEN]);
            assert_eq!(is_shortly_ahead(one, x), backwards, "{ahead} columns");
            let rows = [one, two].map(|row| Some(ArrayViewMut1::from(row)));
            let (from, stores) = ([&*x, &y[..]], Stores::Streamed);
            dispatch_at(level, Write { from, rows, stores });
            let x = pages[..LEN].to_vec();
            let rows =
                [PAGE, 3 * PAGE].map(|page| &pages[page + ahead - ahead.min(1)..][..LEN + 2]);
            let sums: [Vec<f32>; 2] = [
                x.iter().zip(&y).map(|(x, y)| x + 2.0 * y).collect(),
                x.iter().map(|x| 3.0 * x).collect(),
            ];
            for (row, sums) in rows.into_iter().zip(sums) {
                let (before, row) = row.split_at(ahead.min(1));
                assert!(row[..LEN] == sums, "{level:?}, {ahead} columns");
                assert!(before.iter().chain(&row[LEN..]).all(|&x| x == -1.0));
            }
        }
    }
}

/// Counts how often sums would go on.
struct Count(usize);

impl Advance for Count {
    fn advance(&mut self) {
        self.0 += 1;
    }
}

/// Four groups of [`Sums`], together or in turn, while so many numbers of other rows are asked for.
struct Groups<'a> {
    rows: [Option<&'a mut [[f32; LANES]]>; 2],
    backwards: bool,
    together: bool,
    asked: usize,
}

impl Kernel for Groups<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let x = [1.5, 2.5, 3.5, 4.5].map(|x| [x; LANES]);
        let y = [0.0, 1.0, 2.0, 3.0].map(|y| [y; LANES]);
        let values = Sums::<I>([I::single(2.0), I::single(3.0)]);
        let order = Order::new(4, self.backwards);
        let put = ByStore::<false>;
        let from = [&x[..], &y[..]];
        let mut meanwhile = Meanwhile {
            sums: Count(0),
            asked: [&x, &y].map(|row| Some(&row.as_flattened()[..self.asked])),
        };
        write::<I, _, _, 2, 2>(
            self.rows,
            order,
            from,
            &values,
            &put,
            self.together,
            &mut meanwhile,
        );
        meanwhile.sums.0
    }
}

#[test]
fn the_rows_that_are_wanted_are_written_whatever_goes_on_meanwhile() {
    for level in available() {
        for (backwards, together, wanted, asked) in [
            (false, true, [true, true], 0),
            (true, true, [true, true], 4 * LANES),
            (false, false, [true, true], 0),
            (true, false, [true, true], 4 * LANES - 1),
            (false, false, [true, true], 4 * LANES),
            (true, false, [true, true], 4 * LANES),
            (false, true, [false, true], 4 * LANES),
            (true, true, [true, false], 0),
        ] {
            let mut rows = [[[-1.0; LANES]; 4]; 2];
            let [one, two] = &mut rows;
            let some = [
                wanted[0].then_some(&mut one[..]),
                wanted[1].then_some(&mut two[..]),
            ];
            let groups = Groups {
                rows: some,
                backwards,
                together,
                asked,
            };
            // Sums go on once for each group, where all rows are written side by side.
            let side_by_side = together && wanted == [true, true];
            let sums_taken = if side_by_side { 4 } else { 0 };
            assert_eq!(
                dispatch_at(level, groups),
                sums_taken,
                "{level:?}, {wanted:?}"
            );
            let sums = [[1.5, 4.5, 7.5, 10.5], [4.5, 7.5, 10.5, 13.5]];
            for ((row, sums), wanted) in rows.into_iter().zip(sums).zip(wanted) {
                let expected = if wanted { sums } else { [-1.0; 4] };
                assert!(
                    row == expected.map(|x| [x; LANES]),
                    "{level:?}, together {together}"
                );
            }
        }
    }
}

#[test]
fn rows_that_share_a_line_of_the_cache_are_streamed_whole() {
    // As many as a quarter of a line: no row of them has a whole one, and each begins at another place of it.
    const LEN: usize = LANES / 4;
    let (x, y) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
    for level in available() {
        let mut line = Line([0.0; LANES]);
        let (one, two) = line.0.split_at_mut(LEN);
        let rows = [one, &mut two[..LEN]].map(|row| Some(ArrayViewMut1::from(row)));
        let (from, stores) = ([&x[..], &y[..]], Stores::Streamed);
        dispatch_at(level, Write { from, rows, stores });
        let expected = [11.0, 14.0, 17.0, 20.0, 3.0, 6.0, 9.0, 12.0];
        assert_eq!(line.0[..2 * LEN], expected, "{level:?}");
        assert_eq!(line.0[2 * LEN..], [0.0; 2 * LEN], "{level:?}");
    }
}

#[test]
fn what_is_added_leaves_the_sign_of_a_zero_as_a_sum_does() {
    // A whole group of columns, and the same in the rest of the row. The second row of `Write` is 3x.
    let pairs = [(-0.0, -0.0), (-0.0, 0.0), (0.0, -0.0), (0.0, 0.0)];
    let x: Vec<f32> = pairs.iter().cycle().take(20).map(|pair| pair.0).collect();
    let there = pairs.iter().cycle().take(20).map(|pair| pair.1);
    for level in available() {
        let mut row: Array1<f32> = there.clone().collect();
        let rows = [None, Some(row.view_mut())];
        let (from, stores) = ([&x[..], &x[..]], Stores::Added);
        dispatch_at(level, Write { from, rows, stores });
        for (column, (&sum, (x, there))) in row.iter().zip(x.iter().zip(there.clone())).enumerate()
        {
            let expected = there + x;
            assert_eq!(
                sum.to_bits(),
                expected.to_bits(),
                "{level:?}, column {column}"
            );
        }
    }
}

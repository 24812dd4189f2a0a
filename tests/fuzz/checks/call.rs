//! A call of some loss, and what must hold of it.

use std::fmt::Debug;

use contrastive::{Error, Scalar, Workspace};
use ndarray::{
    Array1, ArrayD, ArrayView1, ArrayView2, ArrayView3, ArrayViewD, ArrayViewMut1, ArrayViewMut2,
    ArrayViewMut3, ArrayViewMutD, Axis, Ix0, Ix1, Ix2, Ix3,
};

use super::bytes::{Bits, Bytes, repeats};
use super::layout::{self, Laid, Layout};

/// The arrays of a call, by their shapes.
#[derive(Debug)]
pub(crate) struct Shapes {
    /// Of each floating-point input.
    pub(crate) inputs: Vec<Vec<usize>>,
    /// Of each gradient that is asked for, in the order in which the call takes them.
    pub(crate) gradients: Vec<Option<Vec<usize>>>,
    /// How many row losses are asked for.
    pub(crate) rows: usize,
}

/// A loss, with all of a batch but its floating-point numbers.
pub(crate) trait Call: Debug {
    fn shapes(&self) -> &Shapes;
    /// The crate's answer.
    fn evaluate<A: Scalar>(
        &self,
        inputs: &[ArrayViewD<'_, A>],
        wanted: Wanted<'_, A>,
        workspace: &mut Workspace<A>,
    ) -> Result<A, Error>;
    /// How near each other the results for two element types are, given the inputs.
    fn nearness(&self, inputs: &[ArrayD<f64>]) -> Nearness;
}

/// What is wanted besides the value. There are as many gradients as [`Call::shapes`] says, or none at all.
pub(crate) struct Wanted<'a, A> {
    pub(crate) gradients: Vec<Option<ArrayViewMutD<'a, A>>>,
    pub(crate) rows: Option<ArrayViewMut1<'a, A>>,
}

/// How near to those of `f64` the results of `f32` must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nearness {
    /// The largest of the hyper-parameters that results are multiplied with or divided by, or the reciprocal of the smallest.
    pub(crate) reach: f64,
    /// The degree of the results, as polynomials of inputs and hyper-parameters, in units of six.
    pub(crate) degree: f64,
    /// Of a row loss, in absolute numbers; nothing to be compared if there are jumps.
    pub(crate) row: Option<f64>,
}

/// A number that no pass computes.
fn sentinel<A: Bits>() -> A {
    A::from_wide(1.218_75e-7)
}

/// The exact value of a number, and its bits. NaNs are all alike.
pub(crate) fn bits<A: Scalar>(x: A) -> (u64, i16, i8) {
    if x.is_nan() {
        (u64::MAX, i16::MAX, 0)
    } else {
        x.integer_decode()
    }
}

pub(crate) fn same<'a, A: Scalar>(
    one: impl Iterator<Item = &'a A>,
    other: impl Iterator<Item = &'a A>,
) -> bool {
    one.map(|&x| bits(x)).eq(other.map(|&x| bits(x)))
}

/// Checks the call with numbers of either type.
pub(crate) fn check(call: &impl Call, bytes: &mut Bytes<'_>) {
    if bytes.flag() {
        let inputs = draw::<f32>(call, bytes);
        let single = checked(call, &inputs, bytes);
        let inputs: Vec<_> = inputs.iter().map(|input| input.mapv(f64::from)).collect();
        let double = checked(call, &inputs, bytes);
        if let (Some(single), Some(double)) = (single, double) {
            near(call, &inputs, &single, &double);
        }
    } else {
        let inputs = draw::<f64>(call, bytes);
        if let Some(answer) = checked(call, &inputs, bytes) {
            stays_finite(call, &inputs, &answer);
        }
    }
}

fn draw<A: Bits>(call: &impl Call, bytes: &mut Bytes<'_>) -> Vec<ArrayD<A>> {
    let mut inputs: Vec<ArrayD<A>> = Vec::new();
    for shape in &call.shapes().inputs {
        let input = bytes.array(shape, inputs.last());
        inputs.push(input);
    }
    inputs
}

/// What a call has returned and written.
struct Answer<A> {
    value: A,
    gradients: Vec<ArrayD<A>>,
    rows: Array1<A>,
}

impl<A: Bits> Answer<A> {
    fn numbers(&self) -> impl Iterator<Item = &A> {
        self.gradients
            .iter()
            .flatten()
            .chain(&self.rows)
            .chain([&self.value])
    }
}

/// The answer to a call, after all that must hold for one element type.
fn checked<A: Bits>(
    call: &impl Call,
    inputs: &[ArrayD<A>],
    bytes: &mut Bytes<'_>,
) -> Option<Answer<A>> {
    let mut workspace = Workspace::new();
    let plain = answer(call, inputs, |_| Layout::Standard, &mut workspace);
    let layouts: Vec<_> = (0..16).map(|_| bytes.one_of(&layout::ALL)).collect();
    let laid = answer(call, inputs, |part| layouts[part % 16], &mut workspace);
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    let wanted = Wanted {
        gradients: Vec::new(),
        rows: None,
    };
    let value = call.evaluate(&views, wanted, &mut workspace);
    match (plain, laid) {
        (Ok(plain), Ok(laid)) => {
            assert!(
                same(plain.numbers(), laid.numbers()),
                "layouts {layouts:?} change the bits"
            );
            let value = value.expect("less is wanted than has been given");
            assert_eq!(
                bits(value),
                bits(plain.value),
                "the value alone has other bits"
            );
            Some(plain)
        }
        (Err(plain), Err(laid)) => {
            assert_eq!(
                format!("{plain:?}"),
                format!("{laid:?}"),
                "the refusal depends on the layout"
            );
            assert!(!plain.to_string().is_empty());
            None
        }
        _ => panic!("layouts {layouts:?} change whether the call is refused"),
    }
}

/// The call with arrays in some layouts, of which the first are those of the outputs. On an error nothing has been written.
fn answer<A: Bits>(
    call: &impl Call,
    inputs: &[ArrayD<A>],
    layout: impl Fn(usize) -> Layout,
    workspace: &mut Workspace<A>,
) -> Result<Answer<A>, Error> {
    let sentinel = sentinel::<A>();
    let buffer =
        |shape: &[usize], layout| Laid::new(&ArrayD::from_elem(shape, sentinel), layout, sentinel);
    let shapes = call.shapes();
    let mut rows = buffer(&[shapes.rows], layout(0));
    let wanted = shapes.gradients.iter().enumerate();
    let mut gradients: Vec<_> = wanted
        .map(|(part, shape)| {
            let shape = shape.as_ref()?;
            Some(buffer(shape, layout(1 + part)))
        })
        .collect();
    let given: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(part, input)| Given::new(input, layout(1 + gradients.len() + part)))
        .collect();
    let views: Vec<_> = given.iter().map(Given::view).collect();
    let wanted = Wanted {
        gradients: gradients
            .iter_mut()
            .map(|buffer| buffer.as_mut().map(Laid::view_mut))
            .collect(),
        rows: Some(
            rows.view_mut()
                .into_dimensionality::<Ix1>()
                .expect("one axis"),
        ),
    };
    let result = call.evaluate(&views, wanted, workspace);
    let outputs = || gradients.iter().flatten().chain([&rows]);
    assert!(
        outputs().all(Laid::gaps_are_untouched),
        "written between the numbers of a view"
    );
    let value = result.inspect_err(|error| {
        let untouched =
            outputs().all(|buffer| buffer.view().iter().all(|&x| bits(x) == bits(sentinel)));
        assert!(untouched, "written in spite of: {error}");
    })?;
    Ok(Answer {
        value,
        gradients: gradients
            .iter()
            .flatten()
            .map(|buffer| buffer.view().to_owned())
            .collect(),
        rows: rows
            .view()
            .to_owned()
            .into_dimensionality()
            .expect("one axis"),
    })
}

/// An input in some layout; rows that repeat are one row in memory unless they are laid out row by row.
enum Given<A> {
    Laid(Laid<A>),
    Broadcast { row: ArrayD<A>, shape: Vec<usize> },
}

impl<A: Bits> Given<A> {
    fn new(input: &ArrayD<A>, layout: Layout) -> Self {
        if layout == Layout::Standard || !repeats(input) {
            return Self::Laid(Laid::new(input, layout, A::nan()));
        }
        Self::Broadcast {
            row: input.index_axis(Axis(0), 0).to_owned(),
            shape: input.shape().to_vec(),
        }
    }

    fn view(&self) -> ArrayViewD<'_, A> {
        match self {
            Self::Laid(laid) => laid.view(),
            Self::Broadcast { row, shape } => row.broadcast(&shape[..]).expect("one of its rows"),
        }
    }
}

/// How large and how small numbers may be for products and quotients of some of them to be finite.
const REACH_F64: f64 = 1e50;
const REACH_F32: f64 = 1e5;

/// The hyper-parameters' [`Nearness::reach`]; those that are 0 are not used.
pub(crate) fn reach<const N: usize>(parameters: [f64; N]) -> f64 {
    let used = parameters.into_iter().filter(|&x| x != 0.0);
    used.fold(1.0, |reach, x| reach.max(x.abs()).max(1.0 / x.abs()))
}

fn within(inputs: &[ArrayD<f64>], reach: f64) -> bool {
    let moderate = |x: &f64| *x == 0.0 || (1.0 / reach..=reach).contains(&x.abs());
    inputs.iter().flatten().all(moderate)
}

fn stays_finite(call: &impl Call, inputs: &[ArrayD<f64>], answer: &Answer<f64>) {
    let Nearness { reach, degree, .. } = call.nearness(inputs);
    let limit = REACH_F64.powf(1.0 / degree);
    if reach <= limit && within(inputs, limit) {
        let finite = answer.numbers().all(|x| x.is_finite());
        assert!(
            finite,
            "{} from finite numbers, {call:?}: {inputs:?}",
            answer.value
        );
    }
}

/// Sums of some contributions may overflow in `f32` before others cancel them: what is this far below the largest number does not.
const HEADROOM: f64 = 1e-6;

fn near(call: &impl Call, inputs: &[ArrayD<f64>], single: &Answer<f32>, double: &Answer<f64>) {
    let Nearness { reach, degree, row } = call.nearness(inputs);
    let limit = REACH_F32.powf(1.0 / degree);
    if !inputs.iter().flatten().all(|x| x.is_finite()) || reach > limit {
        return;
    }
    stays_finite(call, inputs, double);
    let Some(tolerance) = row else {
        return;
    };
    let finite = |single: &f32, double: &f64| {
        let fits = double.abs() < HEADROOM * f64::from(f32::MAX);
        assert!(
            single.is_finite() || !fits,
            "{single} for {double}: {call:?}: {inputs:?}"
        );
    };
    single
        .rows
        .iter()
        .zip(&double.rows)
        .for_each(|(single, double)| finite(single, double));
    // Where the exact gradient is zero, weights and reciprocals of norms multiply nothing but roundings: these are larger in f32.
    if within(inputs, limit) {
        single
            .numbers()
            .zip(double.numbers())
            .for_each(|(single, double)| finite(single, double));
    }
    for (&single, &double) in single.rows.iter().zip(&double.rows) {
        let off = (f64::from(single) - double).abs();
        let tolerance = tolerance + 1e-6 * double.abs();
        // Where the tolerance is beyond f32 nothing is left to compare.
        let comparable = tolerance.is_finite() && double.abs() < HEADROOM * f64::from(f32::MAX);
        assert!(
            off <= tolerance || !comparable,
            "{single} for {double}, with {tolerance:e}: {call:?}: {inputs:?}"
        );
    }
}

/// The largest magnitude.
pub(crate) fn largest<'a>(arrays: impl IntoIterator<Item = &'a ArrayD<f64>>) -> f64 {
    arrays
        .into_iter()
        .flatten()
        .fold(0.0, |largest, x| x.abs().max(largest))
}

/// Whether an input is given, and of which shape.
pub(crate) fn add(
    inputs: &mut Vec<Vec<usize>>,
    given: bool,
    shape: impl FnOnce() -> Vec<usize>,
) -> Option<usize> {
    given.then(|| {
        inputs.push(shape());
        inputs.len() - 1
    })
}

pub(crate) fn line<'a, A>(view: &ArrayViewD<'a, A>) -> ArrayView1<'a, A> {
    view.clone().into_dimensionality::<Ix1>().expect("one axis")
}

pub(crate) fn matrix<'a, A>(view: &ArrayViewD<'a, A>) -> ArrayView2<'a, A> {
    view.clone().into_dimensionality::<Ix2>().expect("two axes")
}

pub(crate) fn cube<'a, A>(view: &ArrayViewD<'a, A>) -> ArrayView3<'a, A> {
    view.clone()
        .into_dimensionality::<Ix3>()
        .expect("three axes")
}

pub(crate) fn line_mut<A>(view: ArrayViewMutD<'_, A>) -> ArrayViewMut1<'_, A> {
    view.into_dimensionality::<Ix1>().expect("one axis")
}

pub(crate) fn number_mut<A>(view: ArrayViewMutD<'_, A>) -> &mut A {
    view.into_dimensionality::<Ix0>()
        .expect("no axes")
        .into_scalar()
}

pub(crate) fn matrix_mut<A>(view: ArrayViewMutD<'_, A>) -> ArrayViewMut2<'_, A> {
    view.into_dimensionality::<Ix2>().expect("two axes")
}

pub(crate) fn cube_mut<A>(view: ArrayViewMutD<'_, A>) -> ArrayViewMut3<'_, A> {
    view.into_dimensionality::<Ix3>().expect("three axes")
}

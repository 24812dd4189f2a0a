//! Arrays that do not lie in memory row by row.

use contrastive::Scalar;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Axis, Slice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Standard,
    /// Columns first.
    Transposed,
    /// Both ways around: every axis has a negative stride.
    Reversed,
    /// Every second row of a larger array, columns contiguous.
    Rows,
    /// Every second index of every axis of a larger array.
    Strided,
}

pub(crate) const ALL: [Layout; 5] = [
    Layout::Standard,
    Layout::Transposed,
    Layout::Reversed,
    Layout::Rows,
    Layout::Strided,
];

/// An array in some layout, with gaps of a sentinel where the layout has any.
#[derive(Clone, Debug)]
pub(crate) struct Laid<A> {
    base: ArrayD<A>,
    layout: Layout,
    sentinel: A,
}

impl<A: Scalar> Laid<A> {
    pub(crate) fn new(array: &ArrayD<A>, layout: Layout, sentinel: A) -> Self {
        let gaps = |axis: usize, len: usize| match layout {
            Layout::Strided => 2 * len + 1,
            Layout::Rows if axis == 0 => 2 * len + 1,
            _ => len,
        };
        let shape = array.shape().iter().enumerate();
        let mut shape: Vec<usize> = shape.map(|(axis, &len)| gaps(axis, len)).collect();
        if layout == Layout::Transposed {
            shape.reverse();
        }
        let base = ArrayD::from_elem(shape, sentinel);
        let mut laid = Self {
            base,
            layout,
            sentinel,
        };
        laid.view_mut().assign(array);
        laid
    }

    pub(crate) fn view(&self) -> ArrayViewD<'_, A> {
        let mut view = self.base.view();
        match self.layout {
            Layout::Standard => {}
            Layout::Transposed => return view.reversed_axes(),
            Layout::Reversed => (0..view.ndim()).for_each(|axis| view.invert_axis(Axis(axis))),
            Layout::Rows | Layout::Strided => {
                for axis in self.gapped(view.ndim()) {
                    view.slice_axis_inplace(Axis(axis), Slice::new(1, None, 2));
                }
            }
        }
        view
    }

    pub(crate) fn view_mut(&mut self) -> ArrayViewMutD<'_, A> {
        let gapped = self.gapped(self.base.ndim());
        let mut view = self.base.view_mut();
        match self.layout {
            Layout::Standard => {}
            Layout::Transposed => return view.reversed_axes(),
            Layout::Reversed => (0..view.ndim()).for_each(|axis| view.invert_axis(Axis(axis))),
            Layout::Rows | Layout::Strided => {
                for axis in gapped {
                    view.slice_axis_inplace(Axis(axis), Slice::new(1, None, 2));
                }
            }
        }
        view
    }

    fn gapped(&self, axes: usize) -> std::ops::Range<usize> {
        0..if self.layout == Layout::Rows {
            axes.min(1)
        } else {
            axes
        }
    }

    /// Whether everything between the numbers of the view still is the sentinel.
    pub(crate) fn gaps_are_untouched(&self) -> bool {
        let mut rest = self.clone();
        rest.view_mut().fill(self.sentinel);
        rest.base
            .iter()
            .all(|&x| super::bits(x) == super::bits(self.sentinel))
    }
}

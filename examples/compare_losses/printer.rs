//! Standard output whose reader may leave.

use std::io::{Error, ErrorKind, Result, Write, stdout};

/// Writes to standard output. A reader that has left, as `head` does, is no error: the plots are still to be written.
pub(crate) struct Printer;

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        unless_left(stdout().write(bytes), bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        unless_left(stdout().flush(), ())
    }
}

fn unless_left<T>(result: Result<T>, otherwise: T) -> Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(otherwise),
        result => result.map_err(|error| {
            let message = format!("standard output: {error}");
            Error::new(error.kind(), message)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_left_is_passed_over() {
        assert!(unless_left(Err(ErrorKind::BrokenPipe.into()), 3).is_ok_and(|n| n == 3));
        assert!(unless_left(Err(ErrorKind::StorageFull.into()), 3).is_err());
    }
}

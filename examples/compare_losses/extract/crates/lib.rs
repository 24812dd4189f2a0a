//! Empty: this package exists for its lock file, which pins the crates that the data is extracted from.

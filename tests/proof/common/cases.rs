//! How many batches a property is tried on.

use proptest::test_runner::Config;

/// As many as given, or fewer where `PROPTEST_CASES` says so: under an emulator or a memory checker.
pub(crate) fn at_most(cases: u32) -> Config {
    let given = std::env::var("PROPTEST_CASES");
    let limit = given.map_or(u32::MAX, |limit| limit.parse().expect("a number of cases"));
    Config {
        cases: cases.min(limit),
        failure_persistence: None,
        ..Config::default()
    }
}

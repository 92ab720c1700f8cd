//! Tests that cannot have here what they need.

/// Whether this is a run that is to leave nothing out.
pub fn is_nightly() -> bool {
    std::env::var_os("TIDEGATE_NIGHTLY").is_some()
}

/// Says that a test is skipped, and why: it then passes. In a nightly run it fails instead, for that one is
/// believed to have tried everything.
pub fn skip(test: &str, reason: &str) {
    assert!(!is_nightly(), "{test}: a nightly run leaves nothing out: {reason}");
    println!("{test}: skipped: {reason}");
}

//! Pages of the documentation that are made from the code, and the check that they are not stale.

use std::path::Path;

/// Set to 1, the check writes the page anew instead of failing.
const BLESS_VARIABLE: &str = "TIDEGATE_BLESS";

/// Fails when the page is not what the code says.
pub(crate) fn assert_page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::env::var_os(BLESS_VARIABLE).is_some_and(|value| value == "1") {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == text, "{name} is stale; {BLESS_VARIABLE}=1 makes this test write it anew");
}

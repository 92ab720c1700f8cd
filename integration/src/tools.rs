//! Programs of others that the set-up unpacks for tests without installing them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The one that the set-up has unpacked, or else the one on the path; none where neither can be run.
pub fn tool(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    let unpacked = cache.map(|cache| cache.join("tidegate/tools/bin").join(name));
    let found = unpacked.filter(|tool| tool.exists()).unwrap_or_else(|| name.into());
    let version = Command::new(&found).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok().then_some(found)
}

//! The files of the console, compiled in.

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its name below `/console/`.
    pub(super) name: &'static str,
    /// What is in it.
    pub(super) bytes: &'static [u8],
}

impl Asset {
    /// Its type, by its name.
    pub(super) fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("json") => "application/json",
            Some("svg") => "image/svg+xml",
            Some(_) | None => "application/octet-stream",
        }
    }

    /// What tells it from other contents of the same name.
    pub(super) fn tag(&self) -> String {
        format!("\"{:08x}-{:x}\"", crc32c::crc32c(self.bytes), self.bytes.len())
    }
}

/// The file of a name.
pub(super) fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

macro_rules! assets {
    ($($name:literal,)+) => {
        /// All of them.
        pub(super) const ASSETS: &[Asset] = &[
            $(Asset { name: $name, bytes: include_bytes!(concat!("../../console/", $name)) }),+
        ];
    };
}

assets! {
    "icon.svg",
    "index.html",
    "js/announce.js",
    "js/api.js",
    "js/dom.js",
    "js/format.js",
    "js/frame.js",
    "js/live.js",
    "js/main.js",
    "js/pages/alarms.js",
    "js/pages/browse.js",
    "js/pages/dr.js",
    "js/pages/jobs.js",
    "js/pages/login.js",
    "js/pages/overview.js",
    "js/pages/policies.js",
    "js/pages/policy.js",
    "js/pages/records.js",
    "js/pages/run.js",
    "js/pages/share.js",
    "js/pages/share_changes.js",
    "js/pages/shares.js",
    "js/pages/sources.js",
    "js/pages/targets.js",
    "js/parts/badge.js",
    "js/parts/calendar.js",
    "js/parts/dialog.js",
    "js/parts/gauge.js",
    "js/parts/plot.js",
    "js/parts/section.js",
    "js/parts/shares.js",
    "js/parts/table.js",
    "js/router.js",
    "js/session.js",
    "js/theme.js",
    "js/words.js",
    "lang/en.json",
    "lang/zh.json",
    "style/base.css",
    "style/frame.css",
    "style/parts.css",
    "style/plots.css",
}

//! `[gateway]` and `[cache]`: what the process as a whole may use, and where it is reached.

use super::names::LocalPath;
use super::network::Listen;
use super::schema::table;
use super::values::{Size, choice};

choice! {
    /// How log lines are written.
    pub enum LogFormat {
        /// For people: one line of text.
        Text = "text",
        /// For machines: one JSON object a line.
        Json = "json",
    }
}

choice! {
    /// The least urgent log lines that are written.
    pub enum LogLevel {
        /// A person must look.
        Error = "error",
        /// Something did not go as planned, and was handled.
        Warn = "warn",
        /// Starts, stops, publications.
        Info = "info",
        /// What each part is doing.
        Debug = "debug",
        /// Every call.
        Trace = "trace",
    }
}

table! {
    /// The process as a whole: local state, memory, and where operators reach it.
    pub struct Gateway("gateway", once) {
        /// Folder of the local state: journal, map and local packs. It holds plaintext: put it on an
        /// encrypted disk. Changing it needs a restart.
        data: LocalPath, default("/var/lib/tidegate".parse().expect("an absolute path"));
        /// What the process may use of memory. Caches and queues are sized from it. Changing it
        /// needs a restart.
        memory: Size, default(Size::mib(512)) in Size::mib(128), Size::tib(1);
        /// The Unix socket of the admin API, through which the commands reach a running gateway.
        /// Only root and the gateway's own user may use it. Changing it needs a restart.
        socket: LocalPath, default("/run/tidegate/admin.sock".parse().expect("an absolute path"));
        /// Where `/metrics`, `/healthz` and `/readyz` are served over HTTP too, without any
        /// authentication. Not at all when it is absent. Changing it needs a restart.
        metrics: Listen, optional;
        /// Whether it is the clone of a drill: it writes nothing to any store, leads nothing, and what clients write to it
        /// goes with its local state. `tidegate attach --drill` writes it. Changing it needs a restart.
        drill: bool, default(false);
        /// How log lines are written; they go to standard error.
        log_format: LogFormat, default(LogFormat::Text);
        /// The least urgent log lines that are written. The environment variable `TIDEGATE_LOG`
        /// overrides it, also per module: `info,tidegate_gateway::journal=debug`.
        log_level: LogLevel, default(LogLevel::Info);
    }
}

table! {
    /// Local room for data.
    pub struct Cache("cache", once) {
        /// Local packs kept because they may be read again. Everything in it is in the repository
        /// too.
        disk: Size, default(Size::gib(20)) in Size::mib(64), Size::tib(1024);
        /// Acknowledged changes that no target has yet. Writers slow down from 70 % of it and are
        /// told to try later at 100 %. It decides how long an outage of the store is survived.
        dirty: Size, default(Size::gib(10)) in Size::mib(64), Size::tib(1024);
    }
}

//! What is wrong now, as plain data.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How urgent an alarm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Look at it in working hours.
    Warning,
    /// Look at it now: data is less protected than the settings promise.
    Critical,
}

impl Severity {
    /// As it is written in JSON and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// What kind of thing is wrong. Stable: programs may go by it.
    pub code: AlarmCode,
    /// With what, such as `share:docs`; empty when with the gateway as a whole.
    pub subject: String,
    /// How urgent. It grows while the alarm lasts, and does not fall.
    pub severity: Severity,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, with the numbers of the moment; of what it quotes, the beginning.
    pub message: String,
    /// What to do.
    pub todo: String,
}

impl Alarm {
    /// The longest message, in bytes. A hundred of them fit into a heartbeat, which holds 2 MiB, and one fits into a variable of
    /// a command.
    pub const MESSAGE_BYTES_MAX: usize = 4 << 10;
}

/// Declares the codes, their texts and meanings.
macro_rules! codes {
    ($( $(#[doc = $meaning:literal])+ $name:ident = $text:literal, )+) => {
        /// What kind of thing is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum AlarmCode {
            $( $(#[doc = $meaning])+ #[serde(rename = $text)] $name, )+
        }

        impl AlarmCode {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// What it says, for people.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning),+)),+ }
            }
        }
    };
}

codes! {
    /// A share changes, and its newest head is older than the objective allows.
    RpoMissed = "rpo-missed",
    /// Recovery of a share would take longer than its objectives allow.
    RtoMissed = "rto-missed",
    /// Another gateway leads a share that this one serves.
    ShareSuperseded = "share-superseded",
    /// A share is above its soft limit.
    QuotaExceeded = "quota-exceeded",
    /// A run of a policy is due and has not been done.
    PolicyOverdue = "policy-overdue",
    /// The last run of a policy failed.
    PolicyFailed = "policy-failed",
    /// The newest snapshot that a policy has of a source lacks something.
    PolicyIncomplete = "policy-incomplete",
    /// A store does not answer, or does not do what is asked.
    StoreAway = "store-away",
    /// What waits for a store does not become less.
    BacklogGrows = "backlog-grows",
    /// A copy of the repository is far behind the target that leads.
    CopyBehind = "copy-behind",
    /// Something keeps a copy of the repository from becoming whole.
    CopyObstructed = "copy-obstructed",
    /// The locks of a target, the one that leads or a copy, were not extended in time.
    LocksLate = "locks-late",
    /// The clocks of this machine and of a store differ.
    ClockDiffers = "clock-differs",
    /// The last collection of garbage failed.
    CollectionFailed = "collection-failed",
    /// Parts of packs on the target are missing or damaged, and nothing here can replace them.
    PartsLost = "parts-lost",
    /// The scrub fails again and again.
    ScrubFailed = "scrub-failed",
    /// A round of the scrub takes longer than it may, or does not begin.
    ScrubOverdue = "scrub-overdue",
    /// The file system of the local state is nearly full.
    DiskFull = "disk-full",
    /// What may wait for the store is nearly used up.
    DirtyFull = "dirty-full",
    /// An object of the repository that holds keys cannot be read.
    KeyDamaged = "key-damaged",
    /// The admin API on the network, or the record of its calls, does not work as it should.
    AdminApi = "admin-api",
    /// No heartbeat of a gateway has come for too long.
    GatewaySilent = "gateway-silent",
    /// The store shows less of a share than its gateway has published.
    HeadLost = "head-lost",
    /// A heartbeat cannot be read.
    HeartbeatDamaged = "heartbeat-damaged",
    /// None: a step of a runbook tells people something.
    Runbook = "runbook",
}

impl fmt::Display for AlarmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_written_as_they_are_shown() {
        let mut texts: Vec<&str> = AlarmCode::ALL.iter().map(|code| code.as_str()).collect();
        for code in AlarmCode::ALL {
            let json = serde_json::to_string(code).expect("plain data");
            assert_eq!(json, format!("\"{code}\""));
            assert!(code.meaning().trim().ends_with('.'));
        }
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), AlarmCode::ALL.len());
    }
}

//! What is asked and told about the links to targets.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ControlError, ErrorKind};
use crate::settings::Rate;

/// The link to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkStatus {
    /// To the target.
    pub up: LaneStatus,
    /// From the target.
    pub down: LaneStatus,
    /// What sets the rates now, for people.
    pub rule: String,
    /// Until when, if that is in sight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneStatus {
    /// Bytes per second over the last minute.
    pub bytes_per_second: u64,
    /// The rate that holds now; absent when bytes move as fast as they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes_per_second: Option<u64>,
    /// Bytes moved since the start that somebody waited for: reads of clients, restores, commands.
    pub client_bytes: u64,
    /// Bytes moved since the start by what leaves for the target.
    pub replication_bytes: u64,
    /// Bytes moved since the start by collecting, scrubbing and healing.
    pub housekeeping_bytes: u64,
    /// Requests that run.
    pub requests_running: u64,
    /// Requests that wait for a place.
    pub requests_waiting: u64,
    /// How many run at once at most, as was found to be best.
    pub requests_found: u64,
    /// The bound of that, in the settings.
    pub requests_max: u64,
}

/// Set the rates of a link by hand. What stays with the calendar in both directions ends what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// To the target.
    #[serde(default)]
    pub up: LimitRate,
    /// From the target.
    #[serde(default)]
    pub down: LimitRate,
    /// For so long; without it until it is ended, or the gateway restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// A rate that is set by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitRate {
    /// What the calendar says.
    #[default]
    Calendar,
    /// As fast as it goes.
    Unlimited,
    /// So much, such as `5MiB/s`.
    Rate(String),
}

impl LimitRate {
    /// In bytes per second; the outer `None` leaves it to the calendar.
    #[allow(clippy::option_option)] // Outer: set or not. Inner: limited or not.
    pub fn rate(&self) -> Result<Option<Option<u64>>, ControlError> {
        match self {
            Self::Calendar => Ok(None),
            Self::Unlimited => Ok(Some(None)),
            Self::Rate(text) => match text.parse::<Rate>() {
                Ok(rate) if rate.bytes_per_second() >= 1 << 10 => Ok(Some(Some(rate.bytes_per_second()))),
                Ok(_) | Err(_) => {
                    let message = format!("{text:?} is no rate; write one from 1KiB/s up, such as 5MiB/s");
                    Err(ControlError::new(ErrorKind::Invalid, message))
                }
            },
        }
    }
}

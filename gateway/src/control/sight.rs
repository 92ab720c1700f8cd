//! Who is connected, and what opens the repository: states alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A machine that is connected to a door for data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ClientInfo {
    /// Its address.
    pub address: String,
    /// The door: `nfs`, `s3` or `nbd`.
    pub door: String,
    /// Its connections.
    pub connections: u64,
}

/// What opens the repository; never a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeySlot {
    /// Its id.
    pub id: String,
    /// `passphrase`, `key-file` or `recovery`; absent where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What people call it.
    pub label: String,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
    /// `whole`, or what is wrong with it.
    pub state: String,
}

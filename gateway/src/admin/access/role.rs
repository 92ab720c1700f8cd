//! What roles may do, in kinds of calls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::Role;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::admin) enum Right {
    /// Look at states, numbers and settings.
    Read,
    /// Look at names of files.
    Browse,
    /// Look at the audit log.
    Audit,
    /// Whatever destroys nothing; contents of files, too.
    Operate,
    /// Everything else.
    Administer,
}

impl Role {
    /// What it may do.
    pub(in crate::admin) fn rights(self) -> &'static [Right] {
        match self {
            Self::Viewer => &[Right::Read, Right::Browse],
            Self::Auditor => &[Right::Read, Right::Audit],
            Self::Operator => &[Right::Read, Right::Browse, Right::Operate],
            Self::Admin => &[Right::Read, Right::Browse, Right::Operate, Right::Administer, Right::Audit],
        }
    }

    /// Whether it may do that.
    pub(in crate::admin) fn has(self, right: Right) -> bool {
        self.rights().contains(&right)
    }
}

//! The calls that a store takes, by name: for metrics, counts and rules about faults.

/// A call of the trait [`Store`](super::Store).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::put`](super::Store::put).
    Put,
    /// [`Store::get`](super::Store::get).
    Get,
    /// [`Store::get_tail`](super::Store::get_tail).
    GetTail,
    /// [`Store::head`](super::Store::head).
    Head,
    /// [`Store::list`](super::Store::list).
    List,
    /// [`Store::list_folders`](super::Store::list_folders).
    ListFolders,
    /// [`Store::delete`](super::Store::delete).
    Delete,
    /// [`Store::special`](super::Store::special), where it reads.
    Ask,
    /// [`Store::special`](super::Store::special), where it changes something.
    Change,
}

impl Operation {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Put,
        Self::Get,
        Self::GetTail,
        Self::Head,
        Self::List,
        Self::ListFolders,
        Self::Delete,
        Self::Ask,
        Self::Change,
    ];

    /// As what a special call counts.
    pub fn of(call: &super::Special) -> Self {
        if call.writes() { Self::Change } else { Self::Ask }
    }

    /// The name as metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetTail => "get_tail",
            Self::Head => "head",
            Self::List => "list",
            Self::ListFolders => "list_folders",
            Self::Delete => "delete",
            Self::Ask => "ask",
            Self::Change => "change",
        }
    }
}

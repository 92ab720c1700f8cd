//! What a chunk is.

/// What a chunk is. All chunks of one frame are of one kind; the number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// A piece of file data. Its id is [`DomainKeys::chunk_id`](crate::DomainKeys::chunk_id).
    Data = 1,
    /// A node of a tree. Its id is [`DomainKeys::node_id`](crate::DomainKeys::node_id) of a part of
    /// it, so that the tree layer checks it.
    Node = 2,
    /// A value of the map that is too large for its node. Its id is that of file data.
    Value = 3,
}

impl ChunkKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Data, Self::Node, Self::Value];

    /// The kind with this number; `None` for a number that no kind has.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

//! What each server guarantees when it replies: the reason why some rates are not rates of the same thing.

use tidegate_benches::Kind;

use crate::loads::Load;

/// What holds when the last reply of an operation has come.
pub(crate) fn at_reply(kind: Kind, load: Load) -> &'static str {
    match load {
        Load::Null => "nothing",
        Load::Getattr | Load::Lookup | Load::Stat | Load::List => "every acknowledged change is seen",
        Load::LargeRead | Load::RandomRead => read(kind),
        Load::SmallFile | Load::Remove => names(kind, load),
        Load::LargeWrite | Load::WholeFile | Load::BatchWrite | Load::SyncWrite => written(kind),
    }
}

fn read(kind: Kind) -> &'static str {
    match kind {
        Kind::Tidegate | Kind::Earlier => "bytes whose checksum is right",
        Kind::Ganesha | Kind::Nfsserve => "bytes as the page cache has them",
        Kind::Zerofs => "bytes that were authenticated when they came into its cache",
    }
}

fn written(kind: Kind) -> &'static str {
    match kind {
        Kind::Tidegate | Kind::Earlier => "data and size on disk",
        Kind::Ganesha => "data and size on disk (fsync)",
        Kind::Nfsserve => "data and size on disk (fdatasync at each write)",
        Kind::Zerofs => "data in its store",
    }
}

/// Operations that change names. Where the backend syncs no directory, a name that was made lasts once
/// the file is synced, by a habit of ext4 and not by a promise.
fn names(kind: Kind, load: Load) -> &'static str {
    match (kind, load) {
        (Kind::Tidegate | Kind::Earlier, Load::Remove) => "removal on disk",
        (Kind::Tidegate | Kind::Earlier, _) => "name on disk at CREATE, data at COMMIT",
        (Kind::Ganesha | Kind::Nfsserve, Load::Remove) => "removal in memory, on disk within seconds",
        (Kind::Ganesha, _) => "name in memory at CREATE; data and, by ext4's habit, name on disk at COMMIT",
        (Kind::Nfsserve, _) => "name in memory at CREATE; data and, by ext4's habit, name on disk at WRITE",
        (Kind::Zerofs, Load::Remove) => "removal in memory, in its store within seconds",
        (Kind::Zerofs, _) => "name in memory at CREATE, all in its store at COMMIT",
    }
}

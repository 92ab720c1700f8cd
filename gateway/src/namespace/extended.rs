//! Extended attributes: names with values that belong to an inode.
//!
//! Bounds, and who may, as on Linux: xattr(7), and `linux/limits.h`. A name has a namespace before its first
//! dot. Those of `user.` belong to files and directories and follow their permission bits; in a sticky
//! directory only its owner sets them. Those of `trusted.` are the superuser's; those of `security.` and
//! `system.` are read by all and set by the superuser. Values are kept as they are: nothing here acts on
//! an access control list that stands in one.
//!
//! NFS version 3 has no call for them. They come from other doors and are kept through what NFS does.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Inode, InodeNumber, Key, Kind, RECORD_ATTRIBUTE, kind_range};

use super::locked::says_of_lock;

use super::permission::{READ, STICKY, WRITE};
use super::{Around, Context, Credentials, Namespace, Node, Outcome, Reader, touch};
use crate::share::Transaction;

/// The longest name in bytes, with its namespace (`XATTR_NAME_MAX`).
pub const EXTENDED_NAME_BYTES_MAX: usize = 255;
/// The longest value in bytes (`XATTR_SIZE_MAX`).
pub const EXTENDED_VALUE_BYTES_MAX: usize = 1 << 16;
/// All names of an inode together, a NUL after each, in bytes (`XATTR_LIST_MAX`).
pub const EXTENDED_LIST_BYTES_MAX: usize = 1 << 16;
/// All names (a NUL after each) and values of an inode together, in bytes; bounds what a change of them holds in memory.
pub const EXTENDED_TOTAL_BYTES_MAX: usize = 1 << 20;
/// Attributes that one look at the map brings.
const PAGE: usize = 64;

/// Extended attributes of an inode: values by name.
pub type ExtendedAttributes = BTreeMap<Bytes, Bytes>;

/// What setting an attribute asks of the one that may be there (the flags of setxattr(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetHow {
    /// Nothing.
    Either,
    /// That there is none (`XATTR_CREATE`).
    Create,
    /// That there is one (`XATTR_REPLACE`).
    Replace,
}

/// Who an attribute is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    User,
    Trusted,
    System,
}

impl Reader<'_> {
    /// The value of an attribute; [`FsError::NotFound`] when there is none.
    pub async fn extended(
        &self,
        number: InodeNumber,
        name: &[u8],
        credentials: &Credentials,
    ) -> Result<Bytes, FsError> {
        let class = class_of(name)?;
        let node = self.node(number).await?;
        match class {
            Class::User => credentials.require(&node.inode, READ)?,
            Class::Trusted if !credentials.is_root() => return Err(FsError::NotFound),
            Class::Trusted | Class::System => {}
        }
        let key = Key::ExtendedAttribute(number, Bytes::copy_from_slice(name));
        Ok(self.map.get(&key).await?.ok_or(FsError::NotFound)?.payload)
    }

    /// The names that the caller may see, in byte order.
    pub async fn extended_names(
        &self,
        number: InodeNumber,
        credentials: &Credentials,
    ) -> Result<Vec<Bytes>, FsError> {
        self.node(number).await?;
        let seen = |name: &Bytes| credentials.is_root() || class_of(name) != Ok(Class::Trusted);
        Ok(self.extended_attributes(number).await?.into_keys().filter(seen).collect())
    }

    /// All attributes of an inode, whoever asks.
    pub async fn extended_attributes(&self, number: InodeNumber) -> Result<ExtendedAttributes, FsError> {
        let mut keys = kind_range(number, b'x', &[]);
        let mut found = ExtendedAttributes::new();
        loop {
            let page = self.map.scan(keys.clone(), PAGE).await?;
            let last = page.len() < PAGE;
            for (key, value) in page {
                keys.start = [&key.encode()[..], &[0]].concat();
                if let Key::ExtendedAttribute(_, name) = key {
                    found.insert(name, value.payload);
                }
            }
            if last {
                return Ok(found);
            }
        }
    }
}

impl Namespace {
    /// Sets an attribute. [`FsError::FileTooBig`] for a value over [`EXTENDED_VALUE_BYTES_MAX`],
    /// [`FsError::NoSpace`] when all together would exceed [`EXTENDED_LIST_BYTES_MAX`] or
    /// [`EXTENDED_TOTAL_BYTES_MAX`].
    pub async fn set_extended(
        &self,
        context: Context<'_>,
        number: InodeNumber,
        name: &[u8],
        value: Bytes,
        how: SetHow,
    ) -> Result<Outcome, FsError> {
        let class = class_of(name)?;
        if value.len() > EXTENDED_VALUE_BYTES_MAX {
            return Err(FsError::FileTooBig);
        }
        self.change_extended(context, number, class, |attributes| {
            match (attributes.contains_key(name), how) {
                (true, SetHow::Create) => return Err(FsError::Exists),
                (false, SetHow::Replace) => return Err(FsError::NotFound),
                _ => {}
            }
            attributes.insert(Bytes::copy_from_slice(name), value);
            Ok(())
        })
        .await
    }

    /// Removes an attribute; [`FsError::NotFound`] when there is none.
    pub async fn remove_extended(
        &self,
        context: Context<'_>,
        number: InodeNumber,
        name: &[u8],
    ) -> Result<Outcome, FsError> {
        let class = class_of(name)?;
        self.change_extended(context, number, class, |attributes| {
            attributes.remove(name).map(drop).ok_or(FsError::NotFound)
        })
        .await
    }

    /// Gives an inode exactly these attributes, as when it is restored: the superuser's right.
    pub async fn replace_extended(
        &self,
        context: Context<'_>,
        number: InodeNumber,
        wanted: ExtendedAttributes,
    ) -> Result<Outcome, FsError> {
        self.change_extended(context, number, Class::Trusted, |attributes| {
            *attributes = wanted;
            Ok(())
        })
        .await
    }

    async fn change_extended(
        &self,
        context: Context<'_>,
        number: InodeNumber,
        class: Class,
        change: impl FnOnce(&mut ExtendedAttributes) -> Result<(), FsError>,
    ) -> Result<Outcome, FsError> {
        let locks = self.share.locks().lock(&[number]).await;
        let old = self.reader().node(number).await?;
        may_set(context.credentials, &old.inode, class)?;
        self.require_unlocked(&old).await?;
        let before = self.reader().extended_attributes(number).await?;
        let mut after = before.clone();
        change(&mut after)?;
        let names: usize = after.keys().map(|name| name.len() + 1).sum();
        let values: usize = after.values().map(Bytes::len).sum();
        if names > EXTENDED_LIST_BYTES_MAX || names + values > EXTENDED_TOTAL_BYTES_MAX {
            return Err(FsError::NoSpace);
        }
        let mut transaction = Transaction::default();
        let key = |name: &Bytes| Key::ExtendedAttribute(number, name.clone());
        before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .for_each(|name| transaction.delete(&key(name)));
        for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(*value)) {
            transaction.put(&key(name), value.to_vec());
        }
        let mut inode = old.inode.clone();
        inode.locked |= after.get(RECORD_ATTRIBUTE).is_some_and(|record| says_of_lock(record));
        touch(&mut inode, self.now());
        transaction.put_inode(number, &inode);
        let first = Around { before: old.inode, after: Node { number, inode } };
        self.finish(context, locks, transaction, Outcome { object: None, first, second: None }).await
    }
}

fn may_set(credentials: &Credentials, inode: &Inode, class: Class) -> Result<(), FsError> {
    if credentials.is_root() && class != Class::User {
        return Ok(());
    }
    match (class, inode.kind) {
        (Class::User, Kind::Directory) if inode.mode & STICKY != 0 && !credentials.owns(inode) => {
            Err(FsError::NotOwner)
        }
        (Class::User, Kind::Regular | Kind::Directory) => credentials.require(inode, WRITE),
        (Class::User | Class::Trusted | Class::System, _) => Err(FsError::NotOwner),
    }
}

/// The class of a name; refuses what cannot be one.
fn class_of(name: &[u8]) -> Result<Class, FsError> {
    if name.len() > EXTENDED_NAME_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    let dot = name.iter().position(|byte| *byte == b'.').ok_or(FsError::NotSupported)?;
    if dot + 1 == name.len() || name.contains(&0) {
        return Err(FsError::Invalid);
    }
    match &name[..dot] {
        b"user" => Ok(Class::User),
        b"trusted" => Ok(Class::Trusted),
        b"security" | b"system" => Ok(Class::System),
        _ => Err(FsError::NotSupported),
    }
}

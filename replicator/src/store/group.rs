//! Several stores that hold one repository: one *leads*, the others are *copies*.
//!
//! [`StoreGroup`] is the store of the repository: every call goes to whichever leads, which may change while the
//! gateway runs. [`StoreGroup::readers`] reads what never changes once it is there, packs above all, from
//! whoever has it: from the lead, and from a copy when the lead has it not, has it damaged, or does not answer soon.
//!
//! A copy may lack what the lead has, so that it is missing there says nothing: the answer is then the lead's.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{Either, select};
use parking_lot::RwLock;

use super::{
    Answer, Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, PutMode, Special, Store,
    StoreError,
};

/// How long a read waits for the lead before it asks a copy as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the head of this module.
pub struct StoreGroup(RwLock<Members>);

struct Members {
    lead: Arc<dyn Store>,
    copies: Vec<Arc<dyn Store>>,
}

impl StoreGroup {
    /// A group that `lead` leads, without copies.
    pub fn new(lead: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Members { lead, copies: Vec::new() })))
    }

    /// From now on reads may go to these too.
    pub fn set_copies(&self, copies: Vec<Arc<dyn Store>>) {
        self.0.write().copies = copies;
    }

    /// From now on `lead` leads.
    pub fn set_lead(&self, lead: Arc<dyn Store>) {
        self.0.write().lead = lead;
    }

    /// Whoever leads now.
    pub fn lead(&self) -> Arc<dyn Store> {
        self.0.read().lead.clone()
    }

    /// Reads objects that never change from whoever has them; everything else goes to the lead.
    pub fn readers(self: &Arc<Self>) -> Arc<dyn Store> {
        Arc::new(Readers { group: self.clone(), patience: PATIENCE })
    }

    fn copies(&self) -> Vec<Arc<dyn Store>> {
        self.0.read().copies.clone()
    }
}

impl fmt::Debug for StoreGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreGroup({})", self.address())
    }
}

#[async_trait]
impl Store for StoreGroup {
    fn address(&self) -> String {
        self.lead().address()
    }

    fn capabilities(&self) -> Capabilities {
        self.lead().capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.lead().put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.lead().get(name, range).await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.lead().get_tail(name, bytes).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.lead().head(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.lead().list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.lead().list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.lead().delete(name).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        self.lead().special(call).await
    }
}

/// See [`StoreGroup::readers`].
#[derive(Debug)]
struct Readers {
    group: Arc<StoreGroup>,
    patience: Duration,
}

impl Readers {
    /// The answer of the lead; of a copy, if the lead fails or is slow and the copy has one.
    async fn read<T, F>(&self, read: impl Fn(Arc<dyn Store>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let copies = self.group.copies();
        let lead = read(self.group.lead());
        if copies.is_empty() {
            return lead.await;
        }
        let from_copies = async {
            for copy in copies {
                if let Ok(found) = read(copy).await {
                    return Some(found);
                }
            }
            None
        };
        let mut lead = std::pin::pin!(lead);
        match tokio::time::timeout(self.patience, &mut lead).await {
            Ok(Err(error)) if may_differ(&error) => from_copies.await.ok_or(error),
            Ok(answer) => answer,
            Err(_) => match select(lead, std::pin::pin!(from_copies)).await {
                Either::Left((Err(error), from_copies)) if may_differ(&error) => {
                    from_copies.await.ok_or(error)
                }
                Either::Left((answer, _)) => answer,
                Either::Right((Some(found), _)) => Ok(found),
                Either::Right((None, lead)) => lead.await,
            },
        }
    }
}

/// Whether another store may know better.
fn may_differ(error: &StoreError) -> bool {
    match error.kind() {
        ErrorKind::Missing
        | ErrorKind::Denied
        | ErrorKind::Misconfigured
        | ErrorKind::Invalid
        | ErrorKind::Full
        | ErrorKind::Transient
        | ErrorKind::Damaged
        | ErrorKind::Asleep => true,
        ErrorKind::Exists | ErrorKind::Held => false,
    }
}

#[async_trait]
impl Store for Readers {
    fn address(&self) -> String {
        self.group.address()
    }

    fn capabilities(&self) -> Capabilities {
        self.group.capabilities()
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        self.group.put(name, body, mode).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.read(|store| {
            let range = range.clone();
            async move { store.get(name, range).await }
        })
        .await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        self.read(|store| async move { store.get_tail(name, bytes).await }).await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        self.read(|store| async move { store.head(name).await }).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        self.group.list(prefix, after, limit).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.group.list_folders(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.group.delete(name).await
    }

    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        self.group.special(call).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fault, FaultStore, MemoryStore, Operation, Rule};
    use super::*;

    fn name() -> ObjectName {
        ObjectName::new("packs/00/pack").expect("a name")
    }

    async fn with(bytes: &'static str) -> MemoryStore {
        let store = MemoryStore::new();
        store.put(&name(), Body::Bytes(bytes.into()), PutMode::Overwrite).await.expect("room");
        store
    }

    #[tokio::test]
    async fn what_the_lead_lacks_is_read_from_a_copy_and_only_what_never_changes() {
        let lead = MemoryStore::new();
        let group = StoreGroup::new(Arc::new(lead.clone()));
        group.set_copies(vec![Arc::new(MemoryStore::new()), Arc::new(with("whole").await)]);
        let readers = group.readers();
        assert_eq!(readers.get(&name(), None).await.expect("a copy has it"), "whole");
        assert_eq!(readers.get(&name(), Some(1..3)).await.expect("a copy has it"), "ho");
        assert_eq!(group.get(&name(), None).await.expect_err("the lead has not").kind(), ErrorKind::Missing);
        assert!(readers.list("", None, 10).await.expect("the lead's").objects.is_empty());
        let other = ObjectName::new("packs/00/other").expect("a name");
        assert_eq!(readers.get(&other, None).await.expect_err("nobody has it").kind(), ErrorKind::Missing);
    }

    #[tokio::test]
    async fn a_lead_that_hangs_is_not_waited_for_and_unknown_stays_unknown() {
        let hanging = Arc::new(FaultStore::new(Arc::new(with("from the lead").await), 1));
        hanging.inject(Rule::on(Operation::Get), Fault::Hang);
        let group = StoreGroup::new(hanging);
        group.set_copies(vec![Arc::new(with("from the copy").await)]);
        let impatient = Readers { group: group.clone(), patience: Duration::from_millis(1) };
        assert_eq!(impatient.get(&name(), None).await.expect("soon"), "from the copy");
        let away = Arc::new(FaultStore::new(Arc::new(with("from the lead").await), 1));
        away.partition(true);
        group.set_lead(away);
        group.set_copies(vec![Arc::new(MemoryStore::new())]);
        let error = group.readers().get(&name(), None).await.expect_err("nobody can tell");
        assert_eq!(error.kind(), ErrorKind::Transient);
    }
}

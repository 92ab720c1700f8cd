//! The way of one gateway to one site: every call is a request that travels, is carried out at one instant (a listing:
//! over a while), and is answered, or not, as the seed draws it. A request goes on when its sender has died.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::site::Site;
use super::world::{End, World};
use crate::store::{
    Body, Capabilities, ErrorKind, ListPage, ObjectInfo, ObjectName, Operation, PutMode, Store, StoreError,
};

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Line {
    world: Arc<World>,
    site: Arc<Site>,
    who: usize,
}

impl Line {
    pub(super) fn new(world: Arc<World>, site: Arc<Site>, who: usize) -> Arc<dyn Store> {
        Arc::new(Self { world, site, who })
    }

    /// Sends a request. `act` gets the site, and its version when the listing began.
    async fn call<T, A>(&self, operation: Operation, what: String, act: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        A: FnOnce(&World, &Site, usize) -> Result<T, StoreError> + Send + 'static,
    {
        self.world.awake(self.who).await;
        let fate = self.world.fate(self.who, self.site.number, operation);
        let (world, site, who) = (self.world.clone(), self.site.clone(), self.who);
        let (mut tell, told) = oneshot::channel();
        let lost = format!("{} {what} on {}", operation.as_str(), site.name);
        let trouble = || StoreError::new(ErrorKind::Transient, lost.clone());
        let (said, unsaid) = (trouble(), trouble());
        tokio::spawn(async move {
            sleep(fate.before).await;
            if fate.end == End::Refused {
                world.event(&format!("{who}: {} {what} on {}: refused", operation.as_str(), site.name));
                drop(tell.send(Err(said)));
                return;
            }
            if let End::Late(time) = fate.end {
                drop(std::mem::replace(&mut tell, oneshot::channel().0).send(Err(said)));
                sleep(time).await;
                let done = act(&world, &site, site.version());
                world.event(&format!(
                    "{who}: {} {what} on {}: late, {}",
                    operation.as_str(),
                    site.name,
                    outcome(&done)
                ));
                return;
            }
            if tell.is_closed() && fate.dies_with_sender {
                return;
            }
            let since = site.version();
            sleep(fate.listing).await;
            let done = act(&world, &site, since);
            let end = if fate.end == End::ReplyLost { ", and the answer is lost" } else { "" };
            world.event(&format!(
                "{who}: {} {what} on {}: {}{end}",
                operation.as_str(),
                site.name,
                outcome(&done)
            ));
            sleep(fate.after).await;
            world.awake(who).await;
            drop(tell.send(if fate.end == End::ReplyLost { Err(said) } else { done }));
        });
        told.await.unwrap_or(Err(unsaid))
    }
}

fn outcome<T>(done: &Result<T, StoreError>) -> String {
    done.as_ref().map_or_else(|error| format!("{:?}", error.kind()), |_| "done".to_owned())
}

fn invalid(name: &ObjectName) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("read a range of {name}"))
}

fn read_body(body: Body) -> Result<Bytes, StoreError> {
    match body {
        Body::Bytes(bytes) => Ok(bytes),
        Body::File { path, bytes } => match std::fs::read(&path) {
            Ok(read) if read.len() as u64 == bytes => Ok(read.into()),
            _ => Err(StoreError::new(ErrorKind::Invalid, "read a local file")),
        },
    }
}

#[async_trait]
impl Store for Line {
    fn address(&self) -> String {
        format!("simulated:{}", self.site.name)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { create_new: self.site.create_new, ..Capabilities::default() }
    }

    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError> {
        let (bytes, object) = (read_body(body)?, name.clone());
        let what = format!("{name} ({} bytes, {:08x})", bytes.len(), crc32c::crc32c(&bytes));
        self.call(Operation::Put, what, move |world, site, _| site.put(world, &object, bytes, mode)).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let object = name.clone();
        let what = range.as_ref().map_or_else(|| name.to_string(), |range| format!("{name} {range:?}"));
        self.call(Operation::Get, what, move |_, site, _| {
            let bytes = site.bytes(&object)?;
            let range = range.unwrap_or(0..bytes.len() as u64);
            if range.start >= range.end || range.end > bytes.len() as u64 {
                return Err(invalid(&object));
            }
            Ok(bytes.slice(range.start as usize..range.end as usize))
        })
        .await
    }

    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError> {
        let object = name.clone();
        self.call(Operation::GetTail, name.to_string(), move |_, site, _| {
            let all = site.bytes(&object)?;
            let length = all.len() as u64;
            Ok((all.slice(length.saturating_sub(bytes) as usize..), length))
        })
        .await
    }

    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError> {
        let object = name.clone();
        self.call(Operation::Head, name.to_string(), move |_, site, _| site.info(&object)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.call(Operation::List, format!("{prefix} ({limit})"), move |world, site, since| {
            Ok(site.list(world, since, (&prefix, after.as_ref(), limit)))
        })
        .await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.call(Operation::ListFolders, prefix.clone(), move |_, site, _| Ok(site.folders(&prefix))).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let object = name.clone();
        self.call(Operation::Delete, name.to_string(), move |_, site, _| {
            site.delete(&object);
            Ok(())
        })
        .await
    }
}

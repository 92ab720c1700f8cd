//! The bin of the honest gateway in memory: what is removed of `docs` lies there; share `old` was taken out.

use async_trait::async_trait;
use jiff::Timestamp;

use super::fake::FakeGateway;
use super::network::OnNetwork;
use crate::control::{
    BinEntry, BinKind, BinRestoreRequest, Binning, BroughtBack, ControlError, ErrorKind, SnapshotInfo,
};

fn entry(kind: BinKind, share: &str, name: &str) -> BinEntry {
    let (share, name, id) = (share.to_owned(), name.to_owned(), format!("id-of-{name}"));
    let (since, until) = (None, (kind == BinKind::Snapshot).then_some(Timestamp::UNIX_EPOCH));
    BinEntry {
        kind,
        share,
        id,
        name,
        frozen: Some(Timestamp::UNIX_EPOCH),
        since,
        until,
        policy: None,
        files: 3,
        bytes: 5,
    }
}

fn missing(what: &str) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("the bin has no {what:?}"))
}

#[async_trait]
impl Binning for FakeGateway {
    async fn bin(&self, share: Option<&str>) -> Result<Vec<BinEntry>, ControlError> {
        share.map_or(Ok(()), |share| self.known(share))?;
        let binned = self.binned.lock().clone();
        let entries = binned.iter().map(|(share, snapshot)| entry(BinKind::Snapshot, share, &snapshot.name));
        let mut entries: Vec<_> =
            entries.filter(|entry| share.is_none_or(|share| entry.share == share)).collect();
        entries.extend(share.is_none().then(|| entry(BinKind::Share, "old", "old")));
        Ok(entries)
    }

    async fn bin_restore(
        &self,
        share: &str,
        snapshot: &str,
        request: &BinRestoreRequest,
    ) -> Result<SnapshotInfo, ControlError> {
        self.known(share)?;
        let mut binned = self.binned.lock();
        let at = binned.iter().position(|(of, binned)| of == share && binned.name == snapshot);
        let (_, mut back) = binned.remove(at.ok_or_else(|| missing(snapshot))?);
        back.name = request.name.clone().unwrap_or(back.name);
        self.keep_snapshot(share, back.clone())?;
        Ok(back)
    }

    async fn bin_restore_share(&self, share: &str) -> Result<BroughtBack, ControlError> {
        if share != "old" {
            return Err(missing(share));
        }
        Ok(BroughtBack { share: share.to_owned(), adopted: Vec::new() })
    }

    async fn bin_empty(
        &self,
        share: Option<&str>,
        snapshot: Option<&str>,
        dry_run: bool,
    ) -> Result<Vec<BinEntry>, ControlError> {
        share.map_or(Ok(()), |share| self.known(share))?;
        let mut binned = self.binned.lock();
        let goes = |of: &str, name: &str| {
            share.is_none_or(|share| share == of) && snapshot.is_none_or(|snapshot| snapshot == name)
        };
        let gone: Vec<_> = binned.iter().filter(|(of, found)| goes(of, &found.name)).cloned().collect();
        if !dry_run {
            binned.retain(|(of, found)| !goes(of, &found.name));
        }
        if let Some(snapshot) = snapshot.filter(|_| gone.is_empty()) {
            return Err(missing(snapshot));
        }
        Ok(gone.iter().map(|(share, found)| entry(BinKind::Snapshot, share, &found.name)).collect())
    }
}

#[tokio::test]
async fn what_is_removed_can_be_brought_back_and_is_ended_by_an_admin_alone() {
    let network = OnNetwork::start().await;
    let at = |path: &str| format!("/api/v1{path}");
    for name in ["one", "two"] {
        let body = format!("{{\"name\":\"{name}\"}}");
        let made = network.with("admin", "POST", &at("/shares/docs/snapshots"), &body).await;
        assert_eq!(made.status, 202);
        let job = at(&format!("/jobs/{}?wait_seconds=60", made.body["id"].as_str().expect("an id")));
        assert_eq!(network.with("admin", "GET", &job, "").await.body["state"], "succeeded");
        let removed =
            network.with("admin", "DELETE", &at(&format!("/shares/docs/snapshots/{name}")), "").await;
        assert_eq!(removed.status, 200);
    }
    let names = |answer: &serde_json::Value| -> Vec<String> {
        let entries = answer.as_array().expect("a list").iter();
        entries.map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
    };
    let bin = network.with("viewer", "GET", &at("/bin"), "").await.body;
    assert_eq!(names(&bin), ["one", "two", "old"]);
    // A token of single shares sees no other's.
    assert_eq!(names(&network.with("docs", "GET", &at("/bin"), "").await.body), ["one", "two"]);
    let would = network.with("admin", "DELETE", &at("/bin?dry-run=true"), "").await.body;
    assert_eq!(names(&would), ["one", "two"]);
    assert_eq!(network.with("operator", "DELETE", &at("/shares/docs/bin/one"), "").await.status, 403);
    let back = network.with("operator", "POST", &at("/shares/docs/bin/one/restore"), "{}").await;
    assert_eq!((back.status, back.body["name"].as_str()), (200, Some("one")));
    assert_eq!(network.with("operator", "POST", &at("/shares/docs/bin/one/restore"), "{}").await.status, 404);
    assert_eq!(network.with("operator", "POST", &at("/bin/old/restore"), "{}").await.status, 403);
    assert_eq!(network.with("admin", "POST", &at("/bin/old/restore"), "{}").await.status, 200);
    assert_eq!(names(&network.with("docs", "DELETE", &at("/shares/docs/bin"), "").await.body), ["two"]);
    assert_eq!(names(&network.with("admin", "GET", &at("/shares/docs/bin"), "").await.body), [] as [&str; 0]);
}

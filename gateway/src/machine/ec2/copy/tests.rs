//! Claims about copies when EBS answers in ways that moto does not.

use async_trait::async_trait;

use super::super::door::{self, Answer, Asked, Door};
use super::*;
use crate::machine::Origin;

const BLOCKS: u64 = 3;

/// A disk of three blocks, all of which every head changes.
struct Content(Origin);

impl Content {
    fn of(head: &str) -> Self {
        Self(Origin { share: "5a".into(), path: "/disk".into(), head: head.into() })
    }
}

#[async_trait]
impl DiskContent for Content {
    fn origin(&self) -> &Origin {
        &self.0
    }

    fn bytes(&self) -> u64 {
        BLOCKS * BLOCK_BYTES
    }

    async fn blocks(
        &self,
        _block_bytes: u64,
        since: Option<&str>,
    ) -> Result<Option<Vec<Range<u64>>>, ContentError> {
        let is_same = since == Some(self.0.head.as_str());
        Ok(Some((0..BLOCKS).filter(|_| !is_same).map(|block| block..block + 1).collect()))
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, ContentError> {
        let byte = self.0.head.as_bytes()[0];
        Ok(Bytes::from(vec![byte; (range.end - range.start) as usize]))
    }
}

async fn copy(clients: &Clients, folder: &Path, head: &str) -> Result<String, ProviderError> {
    let (doing, job) = (Doing { what: "copy the disks of", name: "web" }, JobHandle::new());
    let (owner, tags) = ("mark", vec![(tags::OWNER.to_owned(), "mark".to_owned())]);
    let copier = Copier { clients, doing, folder, disk_at: 0, owner, is_trial: false, tags, job: &job };
    copier.copy(&Content::of(head)).await
}

/// What EC2 says of snapshots: none has a tag yet, and any is as it is told.
fn described(asked: &Asked, status: &str) -> Answer {
    let Some((_, id)) = asked.body.split_once("SnapshotId.1=") else { return Answer::xml("<R/>") };
    let item = format!("<snapshotId>{id}</snapshotId><status>{status}</status><volumeSize>1</volumeSize>");
    Answer::xml(&format!("<R><snapshotSet><item>{item}</item></snapshotSet></R>"))
}

fn begun(id: &str) -> Answer {
    Answer::json(&format!("{{\"SnapshotId\":\"{id}\",\"Status\":\"pending\"}}"))
}

/// The tokens of copies that were begun.
fn tokens(door: &Door) -> Vec<String> {
    let asked = door.asked("POST /snapshots").into_iter().filter(|asked| asked.what == "POST /snapshots");
    let body = asked.map(|asked| serde_json::from_str::<serde_json::Value>(&asked.body).expect("JSON"));
    body.map(|body| body["ClientToken"].as_str().expect("a token").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_completion_was_answered_to_nobody_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let door = Door::new(|asked: &Asked| match asked.what.as_str() {
        // It is taken in while it is looked whether it was ended.
        "DescribeSnapshots" if asked.nth < 6 => described(asked, "pending"),
        "DescribeSnapshots" => described(asked, "completed"),
        "POST /snapshots" if asked.nth == 0 => begun("snap-1"),
        "POST /snapshots" => begun("snap-2"),
        "POST /snapshots/completion/snap-1" if asked.nth == 0 => Answer::Lost,
        "POST /snapshots/completion/snap-1" => Answer::ebs_refused("ValidationException"),
        "POST /snapshots/completion/snap-2" => Answer::json("{\"Status\":\"completed\"}"),
        "CreateTags" => Answer::xml("<R/>"),
        what if what.starts_with("PUT /snapshots/snap-1/") && asked.nth as u64 >= BLOCKS => {
            Answer::ebs_refused("ValidationException")
        }
        what if what.starts_with("PUT ") => Answer::taken(),
        what => panic!("{what}"),
    });
    let clients = door::clients(&door);
    let lost = copy(&clients, folder.path(), "a").await.expect_err("no answer").to_string();
    assert!(lost.contains("ebs:CompleteSnapshot did not reach AWS"), "{lost}");
    assert_eq!(copy(&clients, folder.path(), "a").await.expect("it was completed"), "snap-1");
    assert_eq!(tokens(&door).len(), 1, "none was begun anew");
    let said = door.asked("CreateTags");
    assert_eq!(said.len(), 1);
    assert!(said[0].body.contains("ResourceId.1=snap-1") && said[0].body.contains("Tag.1.Value=a"));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_still_takes_blocks_and_is_refused_its_end_is_given_up_and_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let door = Door::new(|asked: &Asked| match asked.what.as_str() {
        "DescribeSnapshots" if asked.body.ends_with("snap-1") => described(asked, "pending"),
        "DescribeSnapshots" => described(asked, "completed"),
        "POST /snapshots" if asked.nth == 0 => begun("snap-1"),
        "POST /snapshots" => begun("snap-2"),
        "POST /snapshots/completion/snap-1" => Answer::ebs_refused("ValidationException"),
        "POST /snapshots/completion/snap-2" => Answer::json("{\"Status\":\"completed\"}"),
        "CreateTags" => Answer::xml("<R/>"),
        what if what.starts_with("PUT ") => Answer::taken(),
        what => panic!("{what}"),
    });
    let clients = door::clients(&door);
    let refused = copy(&clients, folder.path(), "a").await.expect_err("refused").to_string();
    assert!(refused.contains("ValidationException"), "{refused}");
    assert_eq!(copy(&clients, folder.path(), "a").await.expect("made anew"), "snap-2");
    let tokens = tokens(&door);
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_repeats_the_token_and_a_copy_that_was_given_up_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let door = Door::new(|asked: &Asked| match asked.what.as_str() {
        "DescribeSnapshots" => described(asked, "completed"),
        "POST /snapshots" => match asked.nth {
            0 => Answer::Lost,
            1 => begun("snap-1"),
            2 => Answer::ebs_refused("ConflictException"),
            _ => begun("snap-2"),
        },
        "POST /snapshots/completion/snap-2" => Answer::json("{\"Status\":\"completed\"}"),
        "CreateTags" => Answer::xml("<R/>"),
        what if what.starts_with("PUT /snapshots/snap-1/") => Answer::ebs_refused("ConflictException"),
        what if what.starts_with("PUT ") => Answer::taken(),
        what => panic!("{what}"),
    });
    let clients = door::clients(&door);
    for _ in 0..3 {
        copy(&clients, folder.path(), "a").await.expect_err("lost, or refused");
    }
    assert_eq!(copy(&clients, folder.path(), "a").await.expect("made anew"), "snap-2");
    let tokens = tokens(&door);
    assert_eq!((tokens.len(), &tokens[0]), (4, &tokens[1]), "it may have been begun");
    assert!(tokens[1] != tokens[2] && tokens[2] != tokens[3], "{tokens:?}");
}

//! What every program is asked to do, and in which order.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_benches::Outcome;
use tidegate_benches::process::{Cost, run};

use crate::data::{Data, Version};
use crate::peers::{Borg, Restic, Rustic};
use crate::store::{ACCESS_KEY, BUCKET, Bucket, Files, REGION, Requests, SECRET_KEY};
use crate::tidegate::Tidegate;

/// All programs: first the one this is about.
pub(crate) const ALL: [&dyn Tool; 4] = [&Tidegate, &Restic, &Borg, &Rustic];

/// One of the things that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    First,
    Unchanged,
    Second,
    Restore,
    Forget,
}

/// In this order.
pub(crate) const STEPS: [Step; 5] = [Step::First, Step::Unchanged, Step::Second, Step::Restore, Step::Forget];

impl Step {
    /// What to call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::First => "Saving it for the first time",
            Self::Unchanged => "Saving it unchanged",
            Self::Second => "Saving its second version",
            Self::Restore => "Restoring the second version",
            Self::Forget => "Forgetting all but the last, and giving the space back",
        }
    }
}

/// Where a program works.
pub(crate) struct Place {
    /// What is saved lies here, always under the same name.
    pub(crate) source: PathBuf,
    /// The program's own: repository, keys, settings, caches.
    pub(crate) own: PathBuf,
    /// Below it, and nothing else there.
    pub(crate) repository: PathBuf,
    /// The bucket that shows it, if programs are to find it there.
    pub(crate) bucket: Option<Bucket>,
    /// Where it restores to: empty.
    pub(crate) restored: PathBuf,
}

impl Place {
    /// What a program that is started for a step finds in its environment: the keys of the bucket.
    pub(crate) fn sign_in(&self, command: &mut Command) {
        if self.bucket.is_some() {
            command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
            command.env("AWS_DEFAULT_REGION", REGION);
        }
    }

    fn requests(&self) -> Option<Requests> {
        self.bucket.as_ref().map(Bucket::requests)
    }
}

/// What a repository holds after a step, and what the step asked of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    /// Objects that have come, changed or gone.
    pub(crate) changed: u64,
    /// Only a bucket tells.
    pub(crate) requests: Option<Requests>,
}

/// A program that saves folders.
pub(crate) trait Tool {
    /// What to call it, here and on the command line.
    fn name(&self) -> &'static str;
    /// Why it cannot take part.
    fn missing(&self) -> Option<String>;
    /// Whether it can keep a repository in a bucket.
    fn knows_buckets(&self) -> bool {
        true
    }
    /// Makes a repository. Not measured.
    fn prepare(&self, place: &Place) -> Outcome<()>;
    /// Saves the source; answers the peak of memory in bytes, as the others do.
    fn save(&self, place: &Place) -> Outcome<u64>;
    /// Restores what was saved last, with nothing known but repository and key.
    fn restore(&self, place: &Place) -> Outcome<u64>;
    /// Forgets all but what was saved last, and deletes what only that needed.
    fn forget(&self, place: &Place) -> Outcome<u64>;
    /// Where below its folder for restored things the source's content comes to lie.
    fn restored_content(&self, place: &Place) -> PathBuf;
}

/// One program, all steps, with a repository in a directory or in a bucket.
pub(crate) fn measure(
    tool: &dyn Tool,
    data: &Data,
    folder: &Path,
    in_bucket: bool,
) -> Outcome<Vec<(Cost, Kept)>> {
    let (own, restored) = (folder.join("own"), folder.join("restored"));
    let root = own.join("store");
    let bucket = if in_bucket { Some(Bucket::serve(&root)?) } else { None };
    let place = Place { source: data.source(), own, repository: root.join(BUCKET), bucket, restored };
    fs::create_dir_all(&place.own)?;
    fs::create_dir_all(&root)?;
    fs::create_dir_all(&place.restored)?;
    data.show(Version::First)?;
    tool.prepare(&place)?;
    STEPS.into_iter().map(|step| take(step, tool, data, &place)).collect()
}

fn take(step: Step, tool: &dyn Tool, data: &Data, place: &Place) -> Outcome<(Cost, Kept)> {
    if step == Step::Second {
        data.show(Version::Second)?;
    }
    let (before, asked) = (Files::below(&place.repository)?, place.requests());
    let cost = Cost::of(|| match step {
        Step::First | Step::Unchanged | Step::Second => tool.save(place),
        Step::Restore => tool.restore(place),
        Step::Forget => tool.forget(place),
    })
    .map_err(|error| format!("{}: {}: {error}", tool.name(), step.title()))?;
    let requests = place.requests().zip(asked).map(|(now, before)| now.since(before));
    if step == Step::Restore {
        let mut differ = Command::new("diff");
        differ.args(["-rq", "--no-dereference"]).arg(&place.source).arg(tool.restored_content(place));
        run(&mut differ)?;
    }
    let files = Files::below(&place.repository)?;
    let (bytes, objects, changed) = (files.bytes(), files.count(), files.changed_since(&before));
    Ok((cost, Kept { bytes, objects, changed, requests }))
}

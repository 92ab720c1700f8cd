//! Disks that are copied to where a machine will run, before it is started.
//!
//! A copy may take hours, so nobody waits for it in one call: it goes on by itself, and a start that is asked again meanwhile finds it
//! and says how far it is. It ends with the gateway, and with a stop of the machine; the provider has noted what is copied, so the
//! next start goes on from there.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_protocols::view::FsError;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::control::{ControlError, ErrorKind, JobHandle, MachineStartRequest, Moment, Progress};
use crate::machine::{ContentError, Contents, DiskContent, MachineSpec, provider_of};
use crate::settings::Machine;
use crate::volumes::Volumes;

/// How long one start waits for a copy before it says how far that is: clients give up after two minutes.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// What came of a copy: what the copies are called.
type Outcome = Result<Vec<String>, ControlError>;

/// Copies that are being made, by the name that the machine will run under.
#[derive(Default)]
pub(super) struct Copying(Mutex<BTreeMap<String, UnderWay>>);

struct UnderWay {
    job: JobHandle,
    task: AbortHandle,
    /// Nothing until it has ended; its sender goes when it was cut off.
    ended: watch::Receiver<Option<Outcome>>,
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.lock().values().for_each(|under_way| under_way.task.abort());
    }
}

impl Copying {
    /// What the copies of a machine are called, once there are; none while they are being made. `begin` makes them, if nobody does.
    pub(super) async fn ask<F>(
        &self,
        name: &str,
        begin: impl FnOnce(JobHandle) -> F,
    ) -> Result<Option<Vec<String>>, ControlError>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut ended = {
            let mut all = self.0.lock();
            let under_way = all.entry(name.to_owned()).or_insert_with(|| {
                let (job, (sender, ended)) = (JobHandle::new(), watch::channel(None));
                let work = begin(job.clone());
                let work = async move {
                    let outcome = work.await;
                    // Whoever asks next may not have come yet.
                    sender.send_replace(Some(outcome));
                };
                UnderWay { job, task: tokio::spawn(work).abort_handle(), ended }
            });
            under_way.ended.clone()
        };
        let outcome = match tokio::time::timeout(ANSWER_TIME, ended.wait_for(Option::is_some)).await {
            Err(_) => return Ok(None),
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => None,
        };
        self.0.lock().remove(name);
        let cut_off = || {
            ControlError::new(ErrorKind::Cancelled, format!("the copying for machine {name:?} was stopped"))
                .todo("start the machine again: what is copied stays")
        };
        outcome.ok_or_else(cut_off)?.map(Some)
    }

    /// How far the copying for a machine is, if it goes on.
    pub(super) fn progress(&self, name: &str) -> Option<Progress> {
        let all = self.0.lock();
        all.get(name)
            .filter(|under_way| under_way.ended.borrow().is_none())
            .map(|under_way| under_way.job.progress())
    }

    /// Cuts it off, and returns once nothing of it goes on.
    pub(super) async fn stop(&self, name: &str) {
        let Some(mut under_way) = self.0.lock().remove(name) else { return };
        under_way.task.abort();
        // Ends when the sender goes, or was sent to before.
        let _ = under_way.ended.wait_for(Option::is_some).await;
    }

    /// Cuts all of them off.
    pub(super) fn close(&self) {
        std::mem::take(&mut *self.0.lock()).into_values().for_each(|under_way| under_way.task.abort());
    }
}

/// The volumes of a gateway, as a provider copies them.
pub(super) struct Published {
    pub(super) volumes: Arc<Volumes>,
    /// Instead of the moments that the volumes show.
    pub(super) moment: Option<Moment>,
    /// Whether the shares are clones of a drill.
    pub(super) is_drill: bool,
}

#[async_trait]
impl Contents for Published {
    async fn open(&self, volume: &str) -> Result<Arc<dyn DiskContent>, ContentError> {
        let disk = self.volumes.published(volume, self.moment.as_ref()).await.map_err(|error| {
            let todo = match error {
                FsError::NotFound => ": its file, or the moment that it shows, is not in what is published",
                FsError::TryLater => {
                    ": the store does not answer, or the share is being taken over; try again"
                }
                _ => "",
            };
            ContentError(format!("volume {volume:?}: {error}{todo}"))
        })?;
        if self.is_drill && disk.is_behind() {
            let why = "was changed in this drill, which publishes nothing: a machine elsewhere gets what is published. Leave the disk \
                       alone in steps before the machine starts";
            return Err(ContentError(format!("volume {volume:?} {why}")));
        }
        Ok(Arc::new(disk))
    }
}

impl Published {
    /// What a machine is to be given copies of.
    pub(super) fn of(volumes: &Arc<Volumes>, is_drill: bool, request: &MachineStartRequest) -> Self {
        let newest = request.scratch.then_some(Moment::NewestHead);
        Self { volumes: volumes.clone(), moment: request.moment.clone().or(newest), is_drill }
    }

    /// Makes them, as its provider does.
    pub(super) async fn copy(self, machine: Machine, spec: MachineSpec, job: JobHandle) -> Outcome {
        Ok(provider_of(&machine).prepare(&spec, &self, &job).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_begins() -> Outcome {
        panic!("one is being made already")
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_goes_on_between_the_calls_that_ask_for_it() {
        let copying = Copying::default();
        let long = |job: JobHandle| async move {
            job.advance(7);
            tokio::time::sleep(ANSWER_TIME + ANSWER_TIME / 2).await;
            Ok(vec!["snap-1".to_owned()])
        };
        assert_eq!(copying.ask("m", long).await.expect("under way"), None);
        assert_eq!(copying.progress("m").map(|progress| progress.done), Some(7));
        let never = |_: JobHandle| async { nobody_begins() };
        assert_eq!(copying.ask("m", never).await.expect("through"), Some(vec!["snap-1".to_owned()]));
        assert_eq!(copying.progress("m"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_cuts_a_copy_off_and_a_failure_is_told_once() {
        let copying = Arc::new(Copying::default());
        let forever = |_: JobHandle| std::future::pending::<Outcome>();
        let asking = tokio::spawn({
            let copying = copying.clone();
            async move { copying.ask("m", forever).await }
        });
        while copying.progress("m").is_none() {
            tokio::task::yield_now().await;
        }
        copying.stop("m").await;
        let error = asking.await.expect("it ends").expect_err("cut off");
        assert_eq!(error.kind, ErrorKind::Cancelled);
        let fails = |_: JobHandle| async { Outcome::Err(ControlError::new(ErrorKind::Denied, "no")) };
        assert!(copying.ask("m", fails).await.is_err_and(|error| error.kind == ErrorKind::Denied));
        let works = |_: JobHandle| async { Outcome::Ok(Vec::new()) };
        assert_eq!(copying.ask("m", works).await.expect("begun anew"), Some(Vec::new()));
    }
}

//! Disks that are copied to where a machine will run, before it is started.
//!
//! A copy may take hours, so nobody waits for it in one call: it goes on by itself, and a start that is asked again meanwhile finds it
//! and says how far it is. It ends with the gateway, and with a stop of the machine; the provider has noted what is copied, so the
//! next start goes on from there.
//!
//! Promises: what a start gets is what it asked for. One that asks for something else than what is being copied under its name (another
//! moment, or the settings of the machine or of its volumes have changed) is refused; and what had ended before anybody asked is not given out, since the share may have moved on: it is asked for anew, which costs little.

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
use crate::volumes::{VolumeConfig, Volumes};

/// How long one start waits for a copy before it says how far that is: clients give up after two minutes.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// What came of a copy: what the copies are called.
type Outcome = Result<Vec<String>, ControlError>;

/// What a start wants copied.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// The machine as the settings have it, and so where the copies are to be.
    pub(super) machine: Machine,
    /// Its volumes as the settings have them.
    pub(super) volumes: Vec<VolumeConfig>,
    /// The moment that its disks show.
    pub(super) moment: Option<Moment>,
    /// Whether nothing that it writes is to stay.
    pub(super) scratch: bool,
}

/// Copies that are being made, by the name that the machine will run under.
#[derive(Default)]
pub(super) struct Copying(Mutex<All>);

#[derive(Default)]
struct All {
    under_way: BTreeMap<String, UnderWay>,
    /// How many were begun.
    begun: u64,
}

/// A copy; it is cut off when this goes.
struct UnderWay {
    /// Which of those that were begun it is: whoever waited for an earlier one has no business with it.
    number: u64,
    wanted: Wanted,
    job: JobHandle,
    task: AbortHandle,
    /// Nothing until it has ended; its sender goes when it was cut off.
    ended: watch::Receiver<Option<Outcome>>,
}

impl UnderWay {
    fn begin<F>(number: u64, wanted: Wanted, begin: impl FnOnce(JobHandle) -> F) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (job, (sender, ended)) = (JobHandle::new(), watch::channel(None));
        let (work, machine) = (begin(job.clone()), wanted.machine.name.to_string());
        let work = async move {
            let outcome = work.await;
            if let Err(error) = &outcome {
                // Perhaps nobody waits, and whoever asks next begins anew.
                tracing::warn!(machine, %error, "the copying of its disks has ended");
            }
            // Whoever asks next may not have come yet.
            sender.send_replace(Some(outcome));
        };
        Self { number, wanted, job, task: tokio::spawn(work).abort_handle(), ended }
    }

    fn has_ended(&self) -> bool {
        self.ended.borrow().is_some() || self.task.is_finished()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Copying {
    /// What the copies of a machine are called, once there are; none while they are being made. `begin` makes them, if nobody does.
    /// Refused if others than those that are wanted are being made under the name.
    pub(super) async fn ask<F>(
        &self,
        name: &str,
        wanted: Wanted,
        begin: impl FnOnce(JobHandle) -> F,
    ) -> Result<Option<Vec<String>>, ControlError>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (number, mut ended) = self.find_or_begin(name, wanted, begin)?;
        let outcome = match tokio::time::timeout(ANSWER_TIME, ended.wait_for(Option::is_some)).await {
            Err(_) => return Ok(None),
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => None,
        };
        let mut all = self.0.lock();
        if all.under_way.get(name).is_some_and(|under_way| under_way.number == number) {
            all.under_way.remove(name);
        }
        let cut_off = || {
            ControlError::new(ErrorKind::Cancelled, format!("the copying for machine {name:?} was stopped"))
                .todo("start the machine again: what is copied stays")
        };
        outcome.ok_or_else(cut_off)?.map(Some)
    }

    fn find_or_begin<F>(
        &self,
        name: &str,
        wanted: Wanted,
        begin: impl FnOnce(JobHandle) -> F,
    ) -> Result<(u64, watch::Receiver<Option<Outcome>>), ControlError>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let mut all = self.0.lock();
        if let Some(under_way) = all.under_way.get(name).filter(|under_way| !under_way.has_ended()) {
            if under_way.wanted == wanted {
                return Ok((under_way.number, under_way.ended.clone()));
            }
            let message =
                format!("something else is being copied for machine {name:?}: another moment or other disks");
            let todo = format!("wait until it runs, or cut it off: `tidegate machine stop {name}`");
            return Err(ControlError::new(ErrorKind::Busy, message).todo(todo));
        }
        all.begun += 1;
        let under_way = UnderWay::begin(all.begun, wanted, begin);
        let found = (under_way.number, under_way.ended.clone());
        all.under_way.insert(name.to_owned(), under_way);
        Ok(found)
    }

    /// How far the copying for a machine is, if it goes on.
    pub(super) fn progress(&self, name: &str) -> Option<Progress> {
        let all = self.0.lock();
        let under_way = all.under_way.get(name).filter(|under_way| !under_way.has_ended());
        under_way.map(|under_way| under_way.job.progress())
    }

    /// Cuts it off, and returns once nothing of it goes on.
    pub(super) async fn stop(&self, name: &str) {
        let Some(under_way) = self.0.lock().under_way.remove(name) else { return };
        let mut ended = under_way.ended.clone();
        drop(under_way);
        // Ends when the sender goes, or was sent to before.
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Cuts all of them off.
    pub(super) fn close(&self) {
        self.0.lock().under_way.clear();
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
    use super::super::nbd::volume_config;
    use super::*;
    use crate::settings::Settings;

    fn nobody_begins() -> Outcome {
        panic!("one is being made already")
    }

    fn of(moment: Option<Moment>) -> Wanted {
        let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
                    [nbd]\nlisten = [\"127.0.0.1:10809\"]\n[[share]]\nname = \"vm\"\n\
                    [[volume]]\nname = \"disk\"\nshare = \"vm\"\npath = \"/disk\"\n\
                    [[machine]]\nname = \"m\"\nprovider = \"qemu\"\nvolumes = [\"disk\"]\n";
        let settings = Settings::parse(text).expect("correct");
        let volumes = settings.volumes.iter().map(volume_config).collect();
        let machine = settings.machines.into_iter().next().expect("one");
        Wanted { machine, volumes, scratch: moment.is_some(), moment }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_goes_on_between_the_calls_that_ask_for_it() {
        let copying = Copying::default();
        let long = |job: JobHandle| async move {
            job.advance(7);
            tokio::time::sleep(ANSWER_TIME + ANSWER_TIME / 2).await;
            Ok(vec!["snap-1".to_owned()])
        };
        assert_eq!(copying.ask("m", of(None), long).await.expect("under way"), None);
        assert_eq!(copying.progress("m").map(|progress| progress.done), Some(7));
        let never = |_: JobHandle| async { nobody_begins() };
        assert_eq!(
            copying.ask("m", of(None), never).await.expect("through"),
            Some(vec!["snap-1".to_owned()])
        );
        assert_eq!(copying.progress("m"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_cuts_a_copy_off_and_a_failure_is_told_once() {
        let copying = Arc::new(Copying::default());
        let forever = |_: JobHandle| std::future::pending::<Outcome>();
        let asking = tokio::spawn({
            let copying = copying.clone();
            async move { copying.ask("m", of(None), forever).await }
        });
        while copying.progress("m").is_none() {
            tokio::task::yield_now().await;
        }
        copying.stop("m").await;
        let error = asking.await.expect("it ends").expect_err("cut off");
        assert_eq!(error.kind, ErrorKind::Cancelled);
        let fails = |_: JobHandle| async { Outcome::Err(ControlError::new(ErrorKind::Denied, "no")) };
        assert!(copying.ask("m", of(None), fails).await.is_err_and(|error| error.kind == ErrorKind::Denied));
        let works = |_: JobHandle| async { Outcome::Ok(Vec::new()) };
        assert_eq!(copying.ask("m", of(None), works).await.expect("begun anew"), Some(Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_before_anybody_asked_is_made_anew_and_another_wish_is_refused() {
        let copying = Copying::default();
        let long = |name: &'static str| {
            move |_: JobHandle| async move {
                tokio::time::sleep(ANSWER_TIME + ANSWER_TIME / 2).await;
                Ok(vec![name.to_owned()])
            }
        };
        assert_eq!(copying.ask("m", of(None), long("old")).await.expect("under way"), None);
        let never = |_: JobHandle| async { nobody_begins() };
        let error = copying.ask("m", of(Some(Moment::NewestHead)), never).await.expect_err("another moment");
        assert_eq!(error.kind, ErrorKind::Busy);
        let mut elsewhere = of(None);
        elsewhere.volumes[0].path = "/other".parse().expect("a path");
        let never = |_: JobHandle| async { nobody_begins() };
        let error = copying.ask("m", elsewhere, never).await.expect_err("another file");
        assert_eq!(error.kind, ErrorKind::Busy);
        assert!(copying.progress("m").is_some(), "it goes on");
        tokio::time::sleep(ANSWER_TIME).await;
        assert_eq!(copying.progress("m"), None);
        let quick = |_: JobHandle| async { Ok(vec!["new".to_owned()]) };
        let given = copying.ask("m", of(Some(Moment::NewestHead)), quick).await.expect("made anew");
        assert_eq!(given, Some(vec!["new".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waited_for_a_copy_leaves_the_next_one_alone() {
        let copying = Arc::new(Copying::default());
        let forever = |_: JobHandle| std::future::pending::<Outcome>();
        let first = tokio::spawn({
            let copying = copying.clone();
            async move { copying.ask("m", of(None), forever).await }
        });
        while copying.progress("m").is_none() {
            tokio::task::yield_now().await;
        }
        // The next one is there before the first asker has woken.
        let cut_off = copying.0.lock().under_way.remove("m");
        drop(cut_off);
        let (number, _) = copying.find_or_begin("m", of(None), forever).expect("begun");
        assert!(first.await.expect("it ends").is_err_and(|error| error.kind == ErrorKind::Cancelled));
        assert_eq!(copying.0.lock().under_way.get("m").map(|under_way| under_way.number), Some(number));
        let (dropped, held) = tokio::sync::oneshot::channel::<()>();
        let holds = |_: JobHandle| async move {
            let _held = dropped;
            std::future::pending::<Outcome>().await
        };
        let under_way = UnderWay::begin(9, of(None), holds);
        tokio::task::yield_now().await;
        drop(under_way);
        assert!(held.await.is_err(), "it is cut off when its entry goes");
    }
}

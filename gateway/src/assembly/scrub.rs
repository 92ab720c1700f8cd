//! The scrub of a gateway: its settings, and a run as a job.

use std::sync::Arc;

use tidegate_replicator::collect::Observer;

use crate::appliance::{Appliance, ScrubConfig, Scrubber};
use crate::control::{ControlError, ErrorKind, JobHandle, ScrubStatus, Unit};
use crate::settings::{Settings, Span};

/// The part of the memory budget that naming of paths may use.
const SCRUB_PART: u64 = 8;

/// When, and how much.
pub(super) fn scrub_config(settings: &Settings) -> ScrubConfig {
    let scrub = &settings.scrub;
    ScrubConfig {
        every: scrub.every.map(Span::duration),
        look_every: scrub.look_every.duration(),
        daily_bytes: scrub.daily_bytes.map(crate::settings::Size::bytes),
        daily_requests: scrub.daily_requests.map(u64::from),
        copies: scrub.copies,
        memory_bytes_max: settings.gateway.memory.bytes() / SCRUB_PART,
        classes: super::classes(settings),
        folder: settings.gateway.data.as_path().to_path_buf(),
    }
}

/// Opens and starts it.
pub(super) fn start_scrub(appliance: &Arc<Appliance>, settings: &Settings) -> Arc<Scrubber> {
    let scrubber = Scrubber::open(appliance.clone(), scrub_config(settings));
    if !settings.gateway.drill {
        scrubber.start();
    }
    scrubber
}

/// A job as the scrub sees it.
struct Watched<'a>(&'a JobHandle);

impl Observer for Watched<'_> {
    fn phase(&self, phase: &'static str) {
        self.0.phase(phase, None, Unit::Bytes);
    }

    fn advanced(&self, by: u64) {
        self.0.advance(by);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Runs it now.
pub(super) async fn run_scrub(scrubber: &Scrubber, job: &JobHandle) -> Result<ScrubStatus, ControlError> {
    scrubber.run(&Watched(job)).await?;
    if job.is_cancelled() {
        let message = "the scrub was stopped; what was read and healed stays so";
        return Err(ControlError::new(ErrorKind::Cancelled, message));
    }
    Ok(scrubber.status())
}

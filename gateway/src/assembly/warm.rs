//! Warming a share as a job.

use tidegate_replicator::collect::Observer;

use crate::appliance::{Appliance, WarmWhat};
use crate::control::{ControlError, ErrorKind, JobHandle, Unit, WarmDone, WarmRequest};

/// A job as warming sees it.
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

/// Brings a share here.
pub(super) async fn warm_share(
    appliance: &Appliance,
    share: &str,
    request: WarmRequest,
    job: &JobHandle,
) -> Result<WarmDone, ControlError> {
    let what = if request.all { WarmWhat::All } else { WarmWhat::Hot };
    let report = appliance.warm(share, what, &Watched(job)).await?;
    if report.is_cancelled {
        let message = "warming was stopped; what came here stays";
        return Err(ControlError::new(ErrorKind::Cancelled, message));
    }
    Ok(WarmDone {
        requests: report.requests,
        bytes: report.bytes,
        here: report.here,
        gone: report.gone,
        asleep: report.asleep,
        is_full: report.is_full,
    })
}

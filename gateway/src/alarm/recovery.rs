//! Whether recovery of each share would keep its objectives.

use super::reading::{Reading, Verdict};
use super::rules::View;
use crate::control::{AlarmCode, Severity};

/// A share that was not looked at yet, or whose link was never measured, has nothing to say.
pub(super) fn recovery(view: &View<'_>, found: &mut Vec<Reading>) {
    for share in &view.status.shares {
        let Some(recovery) = &share.recovery else { continue };
        let missed = recovery.missed.as_ref().filter(|_| !recovery.accept_risk);
        let verdict = missed.map_or(Verdict::Right, |missed| Verdict::Wrong {
            severity: Severity::Warning,
            after: view.bounds.raise_after.duration(),
            message: format!("recovery of share {} would take too long: {missed}", share.name),
            todo:
                "see `tidegate dr plan`: give it more time, make the link faster, or set accept_risk = true"
                    .to_owned(),
        });
        found.push(Reading::new(AlarmCode::RtoMissed, format!("share:{}", share.name), verdict));
    }
}

//! The link to a target, as `tidegate target limit` sets it and `tidegate status` shows it.

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::format::bytes;
use crate::control::{LaneStatus, LimitRate, LimitRequest, LinkStatus};

/// Sets the rates of a link by hand.
pub(super) async fn limit(context: &Context, target: &str, request: &LimitRequest) -> Result<(), Failure> {
    let path = format!("/targets/{}/limit", segment(target));
    let status: LinkStatus = context.client()?.post(&path, request).await?;
    context.terminal.data(&status, |status| link(target, status))
}

/// A rate as it is given on the command line.
pub(super) fn rate(text: Option<String>) -> LimitRate {
    match text.as_deref() {
        None => LimitRate::Calendar,
        Some("none") => LimitRate::Unlimited,
        Some(rate) => LimitRate::Rate(rate.to_owned()),
    }
}

/// A link as lines, also for `tidegate status`.
pub(super) fn link(target: &str, status: &LinkStatus) -> String {
    let until = status.until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
    format!(
        "link to {target}: up {}; down {}; rates: {}{until}",
        lane(&status.up),
        lane(&status.down),
        status.rule
    )
}

fn lane(lane: &LaneStatus) -> String {
    let limit = lane.limit_bytes_per_second;
    let limit = limit.map_or("no limit".to_owned(), |limit| format!("at most {}/s", bytes(limit)));
    format!(
        "{}/s, {limit}, {} of {} requests ({} allowed)",
        bytes(lane.bytes_per_second),
        lane.requests_running,
        lane.requests_found,
        lane.requests_max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_in_a_line() {
        let up = LaneStatus {
            bytes_per_second: 1 << 20,
            limit_bytes_per_second: Some(2 << 20),
            requests_running: 3,
            requests_found: 8,
            requests_max: 16,
            ..LaneStatus::default()
        };
        let status = LinkStatus { up, rule: "MON 08:00-18:00 UTC".to_owned(), ..LinkStatus::default() };
        assert_eq!(
            link("main", &status),
            "link to main: up 1.0 MiB/s, at most 2.0 MiB/s, 3 of 8 requests (16 allowed); \
             down 0 B/s, no limit, 0 of 0 requests (0 allowed); rates: MON 08:00-18:00 UTC"
        );
    }
}

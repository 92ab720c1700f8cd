//! `tidegate scrub`: how far it is, and running it now.

use clap::Subcommand;

use super::Context;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::{bytes, seconds};
use crate::control::{
    ControlError, CopyScrub, ErrorKind, LostPart, LostUser, ScrubRound, ScrubStatus, UnreadableHead,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how far the scrub is, what it healed, and what is lost.
    Status,
    /// Read and verify every pack on all targets now, and heal what has a copy somewhere.
    Run {
        #[command(flatten)]
        job: JobOptions,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let status: ScrubStatus = match command {
        Command::Status => context.client()?.get("/scrub").await?,
        Command::Run { job: JobOptions { detach: true } } => {
            let detached = JobOptions { detach: true };
            return follow::run(context, detached, "/scrub/run", &(), |status: &ScrubStatus| people(status))
                .await;
        }
        Command::Run { job: _ } => follow::to_its_end(context, "/scrub/run", &serde_json::json!({})).await?,
    };
    context.terminal.data(&status, people)?;
    match status.lost_count() {
        0 => Ok(()),
        count => {
            let error =
                ControlError::new(ErrorKind::Damaged, format!("{count} parts are lost, listed above"));
            Err(error.todo("write the files that are named anew, or restore them from elsewhere").into())
        }
    }
}

fn people(status: &ScrubStatus) -> String {
    let mut lines: Vec<String> = status.lost.iter().map(lost).collect();
    if status.more_lost > 0 {
        lines.push(format!("and {} more", status.more_lost));
    }
    lines.extend(status.unreadable.iter().map(unreadable));
    lines.push(status.every_seconds.map_or_else(
        || "packs are read by `tidegate scrub run` only".to_owned(),
        |every| format!("every pack is read once in {}", seconds(every)),
    ));
    if let Some(looked) = status.looked {
        lines.push(format!("packs that are gone were last looked for at {looked:.0}"));
    }
    lines.extend(status.round.as_ref().map(|state| format!("this round: {}", round(state))));
    lines.extend(status.last.as_ref().map(|state| format!("last round: {}", round(state))));
    lines.extend(status.copies.iter().flat_map(of_copy));
    if status.late_seconds > 0 {
        lines.push(format!("the round is {} late", seconds(status.late_seconds)));
    }
    lines.extend(status.failure.as_ref().map(|failure| {
        format!(
            "it does not go on: {} ({} tries, the last at {:.0})",
            failure.message, failure.turns, failure.at
        )
    }));
    lines.push(
        if status.lost_count() == 0 { "nothing is lost" } else { "there is damage without a copy" }
            .to_owned(),
    );
    lines.join("\n")
}

/// What there is to say of a copy, each line with its name.
fn of_copy(copy: &CopyScrub) -> Vec<String> {
    let mut lines: Vec<String> = copy.lost.iter().map(lost).collect();
    if copy.more_lost > 0 {
        lines.push(format!("and {} more", copy.more_lost));
    }
    lines.extend(copy.unreadable.iter().map(unreadable));
    lines.extend(copy.round.as_ref().map(|state| format!("this round: {}", round(state))));
    lines.extend(copy.last.as_ref().map(|state| format!("last round: {}", round(state))));
    lines.extend(copy.failure.as_ref().map(|why| format!("its round does not go on: {why}")));
    lines.into_iter().map(|line| format!("target {}: {line}", copy.target)).collect()
}

fn unreadable(head: &UnreadableHead) -> String {
    format!("unreadable: {}: {}", head.object, head.why)
}

fn round(round: &ScrubRound) -> String {
    let ended = round.ended.map(|ended| format!(", ended {ended:.0}")).unwrap_or_default();
    let asleep = if round.packs_asleep == 0 {
        String::new()
    } else {
        format!("; {} packs ({}) sleep, and were not read", round.packs_asleep, bytes(round.bytes_asleep))
    };
    format!(
        "{} of {} packs ({} of {}), begun {:.0}{ended}; {} packs put back whole, {} chunks sealed anew, {} frames without a copy{asleep}",
        round.packs,
        round.packs_total,
        bytes(round.bytes),
        bytes(round.bytes_total),
        round.began,
        round.packs_healed,
        round.chunks_resealed,
        round.frames_lost
    )
}

fn lost(part: &LostPart) -> String {
    let user = |user: &LostUser| {
        let place: Vec<&str> =
            [&user.share, &user.moment, &user.path].into_iter().filter_map(|word| word.as_deref()).collect();
        format!("\n  needed by {}", place.join(", "))
    };
    let users: String = part.users.iter().map(user).collect();
    format!("lost: pack {}: {} ({} chunks){users}", part.pack, part.what, part.chunks.len())
}

//! What a scrub says about itself.

use jiff::Timestamp;

use super::Scrubber;
use super::book::{Done, LostFrame};
use crate::control::{LostPart, LostUser, ScrubFailure, ScrubRound, ScrubStatus};

impl Scrubber {
    /// How far it is, and what is lost.
    pub fn status(&self) -> ScrubStatus {
        let config = self.config.lock().clone();
        let book = self.book.lock().clone();
        let round = |began: i64, ended: Option<i64>, totals: (u64, u64), done: Done| ScrubRound {
            began: time(began),
            ended: ended.map(time),
            packs: done.packs,
            packs_total: totals.0,
            bytes: done.bytes,
            bytes_total: totals.1,
            packs_healed: done.packs_healed,
            chunks_resealed: done.chunks_resealed,
            frames_lost: done.frames_lost,
            packs_asleep: done.packs_asleep,
            bytes_asleep: done.bytes_asleep,
        };
        let late_seconds = book.late_seconds(self.now_seconds(), &config);
        ScrubStatus {
            late_seconds,
            failure: self.failing.lock().as_ref().map(|failing| ScrubFailure {
                at: time(failing.at),
                turns: failing.turns,
                message: failing.message.clone(),
            }),
            every_seconds: config.every.map(|every| every.as_secs()),
            looked: book.looked_at.map(time),
            round: book
                .round
                .map(|state| round(state.began, None, (state.packs_total, state.bytes_total), state.done)),
            last: book.last.map(|last| {
                round(last.began, Some(last.ended), (last.done.packs, last.done.bytes), last.done)
            }),
            lost: book.lost.iter().map(lost_part).collect(),
            more_lost: book.more_lost,
        }
    }
}

fn lost_part(frame: &LostFrame) -> LostPart {
    let user = |user: &super::book::LostUser| LostUser {
        share: user.share.clone(),
        moment: user.moment.clone(),
        path: user.path.clone(),
    };
    LostPart {
        pack: frame.pack.to_string(),
        what: frame.what(),
        chunks: frame.chunks().unwrap_or_default().iter().map(ToString::to_string).collect(),
        found: time(frame.found_at),
        users: frame.users.iter().map(user).collect(),
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

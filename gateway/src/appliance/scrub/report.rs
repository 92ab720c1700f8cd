//! What a scrub says about itself.

use jiff::Timestamp;

use super::Scrubber;
use super::book::{Book, Done, LostFrame};
use crate::control::{CopyScrub, LostPart, LostUser, ScrubFailure, ScrubRound, ScrubStatus, UnreadableHead};

impl Scrubber {
    /// How far it is, and what is lost.
    pub fn status(&self) -> ScrubStatus {
        let config = self.config.lock().clone();
        let book = self.book.lock().clone();
        let of_copies = self.books_of_copies(&config);
        let now = self.now_seconds();
        let late = of_copies.iter().map(|(_, book, _)| book.late_seconds(now, &config));
        let late_seconds = late.chain([book.late_seconds(now, &config)]).max().unwrap_or_default();
        let copies = of_copies.into_iter().map(|(target, book, failure)| CopyScrub {
            target,
            round: round_of(&book),
            last: last_of(&book),
            lost: book.lost.iter().map(lost_part).collect(),
            more_lost: book.more_lost,
            unreadable: unreadable(&book),
            failure,
        });
        ScrubStatus {
            late_seconds,
            failure: self.failing.lock().as_ref().map(|failing| ScrubFailure {
                at: time(failing.at),
                turns: failing.turns,
                message: failing.message.clone(),
            }),
            every_seconds: config.every.map(|every| every.as_secs()),
            looked: book.looked_at.map(time),
            round: round_of(&book),
            last: last_of(&book),
            lost: book.lost.iter().map(lost_part).collect(),
            more_lost: book.more_lost,
            unreadable: unreadable(&book),
            copies: copies.collect(),
        }
    }
}

fn round_of(book: &Book) -> Option<ScrubRound> {
    let state = book.round.as_ref()?;
    Some(round(state.began, None, (state.packs_total, state.bytes_total), state.done))
}

fn last_of(book: &Book) -> Option<ScrubRound> {
    let last = book.last?;
    Some(round(last.began, Some(last.ended), (last.done.packs, last.done.bytes), last.done))
}

fn round(began: i64, ended: Option<i64>, totals: (u64, u64), done: Done) -> ScrubRound {
    ScrubRound {
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
    }
}

fn unreadable(book: &Book) -> Vec<UnreadableHead> {
    let shown = |head: &super::book::UnreadableHead| UnreadableHead {
        object: head.object.clone(),
        why: head.why.clone(),
    };
    book.unreadable.iter().map(shown).collect()
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

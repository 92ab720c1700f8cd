//! How many calls at once are best for a link: found by trying. Pure.
//!
//! What is known of a window of time is how much was moved in it, whether there was always somebody waiting for a
//! place, and whether the store pushed back. From that:
//!
//! * **Start.** The number doubles as long as that pays.
//! * **Hold, try.** It stands for some windows, which gives a measure; then a quarter more, or a quarter less, is tried for
//!   one. More stays if it brings at least a quarter of what it would bring if nothing else bounded the link. Less
//!   stays if nothing is lost by it: what waits in the network or in the store helps nobody. After a change one
//!   window is not looked at, since calls of before run in it. When both have brought nothing it stands for longer.
//! * **Push back** (throttling, 5xx, time-outs). A try goes back at once to what it began from; else a quarter goes.
//!   As long as other calls succeed the number at which it happened is a ceiling for a while, and for twice as long
//!   when going over it afterwards was wrong. When none do, the store is away: half goes, and after it has come back the
//!   number starts anew.
//!
//! Where nobody waits for a place nothing can be learned, and nothing changes.

use std::collections::VecDeque;

/// Windows that give a measure, at least and at most.
const HOLD_WINDOWS: u32 = 2;
const HOLD_WINDOWS_MAX: u32 = 16;
/// Where the search starts, unless the bound is lower.
const START: usize = 8;
/// By so much a doubling must pay.
const DOUBLING_GAIN: f64 = 1.15;
/// The part of the greatest possible gain that more must bring.
const MORE_GAIN_PART: f64 = 0.25;
/// The part of the measure before that less must keep, and of the best that was held lately.
const LESS_KEEPS: f64 = 0.98;
const LESS_KEEPS_OF_BEST: f64 = 0.95;
/// Measures that count as lately.
const LATELY: usize = 6;
/// Windows for which a ceiling stands, at first and at most.
const CEILING_WINDOWS: u32 = 40;
const CEILING_WINDOWS_MAX: u32 = 160;

/// What happened in a window of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// What was moved in each second: bytes, and so much for each call.
    pub(super) work_per_s: f64,
    /// Somebody waited for a place, most of the time.
    pub(super) demanded: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Start { before: Option<(usize, f64)> },
    Hold { sum: f64, count: u32 },
    Try { from: usize, measure: f64 },
}

/// The number at which the store pushed back.
#[derive(Clone, Copy, Debug)]
struct Ceiling {
    calls: usize,
    windows: u32,
    left: u32,
}

/// See the head of this module.
#[derive(Debug)]
pub(super) struct Finder {
    calls_max: usize,
    calls: usize,
    phase: Phase,
    /// The next window is not looked at.
    settles: bool,
    more_next: bool,
    /// Tries in a row that brought nothing.
    in_vain: u32,
    lately: VecDeque<f64>,
    ceiling: Option<Ceiling>,
    /// Whether the store has pushed back since the last window was over, and whether a call has succeeded.
    pushed_back: bool,
    succeeded: bool,
    away: bool,
}

const HOLD: Phase = Phase::Hold { sum: 0.0, count: 0 };

impl Finder {
    pub(super) fn new(calls_max: usize) -> Self {
        let calls_max = calls_max.max(1);
        Self {
            calls_max,
            calls: calls_max.min(START),
            phase: Phase::Start { before: None },
            settles: false,
            more_next: true,
            in_vain: 0,
            lately: VecDeque::with_capacity(LATELY),
            ceiling: None,
            pushed_back: false,
            succeeded: false,
            away: false,
        }
    }

    /// How many calls may run at once.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// The bound of that.
    pub(super) fn calls_max(&self) -> usize {
        self.calls_max
    }

    /// Changes the bound.
    pub(super) fn set_max(&mut self, calls_max: usize) {
        self.calls_max = calls_max.max(1);
        if self.calls > self.calls_max {
            self.go_to(self.calls_max, HOLD);
        }
    }

    /// A call has succeeded.
    pub(super) fn succeeded(&mut self) {
        self.succeeded = true;
        if self.away {
            self.away = false;
            self.go_to(self.calls, Phase::Start { before: None });
        }
    }

    /// The store has pushed back.
    pub(super) fn pushed_back(&mut self) {
        if std::mem::replace(&mut self.pushed_back, true) {
            return;
        }
        let at = self.calls;
        match self.phase {
            Phase::Try { from, .. } if at > from => {
                self.note_ceiling(at);
                self.go_to(from, HOLD);
            }
            Phase::Start { .. } | Phase::Hold { .. } | Phase::Try { .. } if self.succeeded => {
                self.note_ceiling(at);
                self.go_to(at - (at / 4).max(1).min(at - 1), HOLD);
            }
            Phase::Start { .. } | Phase::Hold { .. } | Phase::Try { .. } => {
                self.away = true;
                self.go_to((at / 2).max(1), HOLD);
            }
        }
    }

    /// A window is over.
    pub(super) fn window(&mut self, window: Window) {
        self.pushed_back = false;
        self.succeeded = false;
        if let Some(ceiling) = &mut self.ceiling {
            ceiling.left = ceiling.left.saturating_sub(1);
        }
        if !window.demanded {
            if let Phase::Try { from, .. } = self.phase {
                self.calls = from;
            }
            if !matches!(self.phase, Phase::Start { .. }) {
                self.phase = HOLD;
            }
            return;
        }
        if std::mem::take(&mut self.settles) {
            return;
        }
        let work = window.work_per_s;
        match self.phase {
            Phase::Start { before } => self.started(before, work),
            Phase::Hold { sum, count } => self.held(sum + work, count + 1),
            Phase::Try { from, measure } => self.tried(from, measure, work),
        }
    }

    fn started(&mut self, before: Option<(usize, f64)>, work: f64) {
        match before {
            Some((calls, measure)) if work < measure * DOUBLING_GAIN => self.go_to(calls, HOLD),
            Some(_) | None => {
                let next = (self.calls * 2).min(self.highest());
                let goes_on = next > self.calls;
                let phase = if goes_on { Phase::Start { before: Some((self.calls, work)) } } else { HOLD };
                self.go_to(next.max(self.calls), phase);
            }
        }
    }

    fn held(&mut self, sum: f64, count: u32) {
        self.phase = Phase::Hold { sum, count };
        // What differs from before is looked at soon.
        let mean = sum / f64::from(count);
        let is_news = self.lately.back().is_none_or(|last| (mean / last.max(1.0) - 1.0).abs() > 0.15);
        if is_news {
            self.in_vain = 0;
        }
        if count < (HOLD_WINDOWS << (self.in_vain / 2).min(8)).min(HOLD_WINDOWS_MAX) {
            return;
        }
        if self.lately.len() == LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(mean);
        let step = (self.calls / 4).max(1);
        let more = self.more(step);
        let next = if (self.more_next || self.calls == 1) && more > self.calls {
            more
        } else {
            self.calls.saturating_sub(step).max(1)
        };
        self.more_next = next < self.calls || self.calls == 1;
        if next == self.calls {
            self.phase = HOLD;
        } else {
            self.go_to(next, Phase::Try { from: self.calls, measure: mean });
        }
    }

    fn tried(&mut self, from: usize, measure: f64, work: f64) {
        let at = self.calls;
        let stays = if at > from {
            work >= measure * (1.0 + MORE_GAIN_PART * (at as f64 / from as f64 - 1.0))
        } else {
            let best = self.lately.iter().fold(0.0, |best: f64, measure| best.max(*measure));
            work >= measure * LESS_KEEPS && work >= best * LESS_KEEPS_OF_BEST
        };
        if !stays {
            self.in_vain += 1;
            self.go_to(from, HOLD);
            return;
        }
        // On in the same direction.
        self.in_vain = 0;
        self.more_next = at > from;
        if self.ceiling.is_some_and(|ceiling| at >= ceiling.calls) {
            self.ceiling = None;
        }
        self.go_to(at, HOLD);
    }

    fn go_to(&mut self, calls: usize, phase: Phase) {
        self.settles = calls != self.calls;
        self.calls = calls;
        self.phase = phase;
    }

    /// The greatest number that may be tried now.
    fn highest(&self) -> usize {
        let ceiling = self.ceiling.filter(|ceiling| ceiling.left > 0);
        ceiling.map_or(self.calls_max, |ceiling| ceiling.calls.saturating_sub(1).clamp(1, self.calls_max))
    }

    /// What to try for more. Over a ceiling that stands no more it goes step by step.
    fn more(&self, step: usize) -> usize {
        let highest = self.highest();
        match self.ceiling {
            Some(ceiling) if ceiling.left == 0 && self.calls + step >= ceiling.calls => {
                (ceiling.calls - 1).max(self.calls + 1).min(highest)
            }
            _ => (self.calls + step).min(highest),
        }
    }

    fn note_ceiling(&mut self, calls: usize) {
        let windows = match self.ceiling {
            // It was right to think so.
            Some(old) if calls >= old.calls => (old.windows * 2).min(CEILING_WINDOWS_MAX),
            Some(_) | None => CEILING_WINDOWS,
        };
        self.ceiling = Some(Ceiling { calls, windows, left: windows });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of a link whose work follows from the number of calls; the number at the end.
    fn run(finder: &mut Finder, windows: usize, work: impl Fn(usize) -> f64) {
        for _ in 0..windows {
            finder.succeeded();
            finder.window(Window { work_per_s: work(finder.calls()), demanded: true });
        }
    }

    #[test]
    fn it_comes_to_where_more_brings_nothing_and_less_would_cost() {
        for best in [1, 2, 3, 5, 8, 13, 40, 100, 256] {
            let mut finder = Finder::new(256);
            let work = |calls: usize| calls.min(best) as f64 * 1e6;
            run(&mut finder, 400, work);
            let part = work(finder.calls()) / work(best);
            assert!(part >= 0.9, "best {best}: stands at {}", finder.calls());
            assert!(finder.calls() <= best + (best / 2).max(1), "best {best}: stands at {}", finder.calls());
        }
    }

    #[test]
    fn it_follows_when_the_link_changes() {
        let mut finder = Finder::new(256);
        for best in [20, 100, 10, 200, 3, 60] {
            let work = |calls: usize| calls.min(best) as f64 * 1e6;
            run(&mut finder, 400, work);
            assert!(work(finder.calls()) >= 0.9 * work(best), "best {best}: stands at {}", finder.calls());
        }
    }

    #[test]
    fn nothing_changes_while_nobody_waits_for_a_place() {
        let mut finder = Finder::new(64);
        for _ in 0..100 {
            finder.succeeded();
            finder.window(Window { work_per_s: 1.0, demanded: false });
        }
        assert_eq!(finder.calls(), START);
    }

    #[test]
    fn a_store_that_pushes_back_above_a_number_is_asked_less_and_less_often_for_more() {
        let mut finder = Finder::new(64);
        let (mut pushes, mut work) = (Vec::new(), 0.0);
        for window in 0..4000 {
            finder.succeeded();
            if finder.calls() > 11 {
                finder.pushed_back();
                pushes.push(window);
            }
            work += finder.calls().min(11) as f64;
            finder.window(Window { work_per_s: finder.calls().min(11) as f64 * 1e6, demanded: true });
        }
        assert!(work / 4000.0 >= 0.9 * 11.0, "on average {}", work / 4000.0);
        let late = pushes.iter().filter(|window| **window > 2000).count();
        assert!(late <= 15, "{late} pushes in the second half: {pushes:?}");
    }

    #[test]
    fn a_store_that_is_away_is_hardly_asked_and_one_that_is_back_soon_as_before() {
        let mut finder = Finder::new(64);
        run(&mut finder, 100, |calls| calls.min(40) as f64 * 1e6);
        for _ in 0..10 {
            finder.pushed_back();
            finder.window(Window { work_per_s: 0.0, demanded: true });
        }
        assert_eq!(finder.calls(), 1);
        run(&mut finder, 20, |calls| calls.min(40) as f64 * 1e6);
        assert!(finder.calls() >= 32, "{}", finder.calls());
    }

    #[test]
    fn a_bound_that_is_lowered_holds_at_once() {
        let mut finder = Finder::new(64);
        run(&mut finder, 100, |calls| calls as f64 * 1e6);
        assert_eq!(finder.calls(), 64);
        finder.set_max(5);
        assert_eq!((finder.calls(), finder.calls_max()), (5, 5));
    }
}

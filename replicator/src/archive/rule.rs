//! Which pack comes to which class. Pure.
//!
//! Rules of one target stand in the order of `after`: the later, the colder. A pack only ever goes on to the class of a
//! later rule, and of those whose conditions it meets it goes to the last. Relations:
//!
//! * a pack that moves was stored, or came to its class, at least `after` ago, has at least `bytes_min` bytes, holds file data
//!   alone, and was not read for `unread_for` as far as anybody knows;
//! * it is not known to be damaged;
//! * it does not sleep, and the minimum storage duration of the class that it has is over;
//! * a pack of a class that no rule names was brought there by somebody else, and stays there.

use std::time::Duration;

use crate::store::{Classes, StorageClass};

/// When packs come to a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// The class.
    pub class: StorageClass,
    /// So long after a pack was stored, or came to the class before.
    pub after: Duration,
    /// If it was not read for so long.
    pub unread_for: Duration,
    /// And has so many bytes at least.
    pub bytes_min: u64,
}

/// What is known of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFacts {
    /// Its length in bytes.
    pub bytes: u64,
    /// How long ago it was stored, or came to its class.
    pub age: Duration,
    /// Its class.
    pub class: Option<StorageClass>,
    /// Whether a collection has condemned it, or would, or would repack it.
    pub is_going: bool,
    /// Whether tree nodes or values lie in it.
    pub has_metadata: bool,
    /// Whether the index knows what lies in it.
    pub is_known: bool,
    /// Whether something of it is known to be missing or damaged.
    pub is_wounded: bool,
    /// For how long at least nobody has read it, as far as anybody knows.
    pub unread_for: Duration,
}

/// Why a pack stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is of the coldest class that there is a rule for.
    There,
    /// It was stored too recently.
    Young,
    /// It was read lately.
    Read,
    /// It is too small to be worth it.
    Small,
    /// It holds what trees consist of.
    Metadata,
    /// A collection will take it.
    Going,
    /// Its class charges for it longer.
    Paid,
    /// It sleeps, and so cannot be copied.
    Asleep,
    /// It is of a class that no rule names.
    Foreign,
    /// The index does not know what lies in it.
    Unknown,
    /// Something of it is missing or damaged: what sleeps is neither read by a scrub nor healed.
    Wounded,
    /// A copy of the repository does not have it yet, and could not read it.
    Owed,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; 12] = [
        Self::There,
        Self::Young,
        Self::Read,
        Self::Small,
        Self::Metadata,
        Self::Going,
        Self::Paid,
        Self::Asleep,
        Self::Foreign,
        Self::Unknown,
        Self::Wounded,
        Self::Owed,
    ];

    /// As it is written for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Young => "young",
            Self::Read => "read",
            Self::Small => "small",
            Self::Metadata => "metadata",
            Self::Going => "going",
            Self::Paid => "paid",
            Self::Asleep => "asleep",
            Self::Foreign => "foreign",
            Self::Unknown => "unknown",
            Self::Wounded => "wounded",
            Self::Owed => "owed",
        }
    }

    /// As it is said to people; reads after "packs".
    pub fn words(self) -> &'static str {
        match self {
            Self::There => "are of the coldest class already",
            Self::Young => "were stored too recently",
            Self::Read => "were read lately",
            Self::Small => "are too small to be worth it",
            Self::Metadata => "hold what trees consist of, and stay warm",
            Self::Going => "are left to the collection",
            Self::Paid => "are paid for in their class for longer",
            Self::Asleep => "sleep, and cannot be copied on",
            Self::Foreign => "are of a class that no rule names",
            Self::Unknown => "are not known to the index",
            Self::Wounded => "are damaged, and stay where a scrub reads them",
            Self::Owed => "are not on every copy of the repository yet",
        }
    }
}

/// What becomes of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It comes to the class of this rule.
    Moves(&'a ArchiveRule),
    /// It stays.
    Stays(Reason),
}

/// Judges a pack by the rules of its target, which stand in the order of `after`.
pub fn judge<'a>(pack: &PackFacts, rules: &'a [ArchiveRule], classes: &Classes) -> Verdict<'a> {
    if let Some(reason) = stays_in_any_case(pack, classes) {
        return Verdict::Stays(reason);
    }
    let later = match &pack.class {
        None => rules,
        Some(class) => match rules.iter().position(|rule| rule.class == *class) {
            None => return Verdict::Stays(Reason::Foreign),
            Some(at) => &rules[at + 1..],
        },
    };
    let mut why = None;
    for rule in later.iter().rev() {
        match obstacle(pack, rule) {
            None => return Verdict::Moves(rule),
            // Of several the one for which it takes the least.
            Some(reason) => why = Some(reason),
        }
    }
    Verdict::Stays(why.unwrap_or(Reason::There))
}

fn stays_in_any_case(pack: &PackFacts, classes: &Classes) -> Option<Reason> {
    let class = pack.class.as_ref();
    let found = [
        (pack.is_going, Reason::Going),
        (pack.has_metadata, Reason::Metadata),
        (!pack.is_known, Reason::Unknown),
        (pack.is_wounded, Reason::Wounded),
        (classes.sleeps(class), Reason::Asleep),
        (pack.age < classes.traits(class).minimum, Reason::Paid),
    ];
    found.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
}

fn obstacle(pack: &PackFacts, rule: &ArchiveRule) -> Option<Reason> {
    if pack.age < rule.after {
        Some(Reason::Young)
    } else if pack.unread_for < rule.unread_for {
        Some(Reason::Read)
    } else if pack.bytes < rule.bytes_min {
        Some(Reason::Small)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const NAMES: [&str; 4] = ["STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "COLD"];

    fn class(name: &str) -> StorageClass {
        name.parse().expect("a class")
    }

    fn rule(name: &str, after_days: u32, unread_days: u32) -> ArchiveRule {
        let (after, unread_for) = (DAY * after_days, DAY * unread_days);
        ArchiveRule { class: class(name), after, unread_for, bytes_min: 100 }
    }

    fn pack(age_days: u32, class: Option<StorageClass>) -> PackFacts {
        let age = DAY * age_days;
        let (is_going, has_metadata, is_known, is_wounded) = (false, false, true, false);
        let unread_for = Duration::MAX;
        PackFacts { bytes: 1_000, age, class, is_going, has_metadata, is_known, is_wounded, unread_for }
    }

    #[test]
    fn packs_go_on_from_class_to_class_and_never_back() {
        let rules = [rule("STANDARD_IA", 30, 7), rule("DEEP_ARCHIVE", 180, 60)];
        let classes = Classes::default();
        let judged = |pack: &PackFacts| judge(pack, &rules, &classes);
        assert_eq!(judged(&pack(29, None)), Verdict::Stays(Reason::Young));
        assert_eq!(judged(&pack(30, None)), Verdict::Moves(&rules[0]));
        assert_eq!(judged(&pack(180, None)), Verdict::Moves(&rules[1]), "it skips one");
        let infrequent = |age| pack(age, Some(class("STANDARD_IA")));
        assert_eq!(judged(&infrequent(29)), Verdict::Stays(Reason::Paid));
        assert_eq!(judged(&infrequent(100)), Verdict::Stays(Reason::Young));
        assert_eq!(judged(&infrequent(180)), Verdict::Moves(&rules[1]));
        let read = PackFacts { unread_for: DAY * 8, ..pack(200, None) };
        assert_eq!(judged(&read), Verdict::Moves(&rules[0]), "it was read too lately for the colder one");
        let read = PackFacts { unread_for: DAY, ..pack(200, None) };
        assert_eq!(judged(&read), Verdict::Stays(Reason::Read));
        assert_eq!(judged(&pack(400, Some(class("DEEP_ARCHIVE")))), Verdict::Stays(Reason::Asleep));
        assert_eq!(judged(&pack(400, Some(class("COLD")))), Verdict::Stays(Reason::Foreign));
        assert_eq!(judge(&pack(400, None), &[], &classes), Verdict::Stays(Reason::There));
    }

    #[test]
    fn what_is_no_data_or_is_going_stays() {
        let (rules, classes) = ([rule("GLACIER", 0, 0)], Classes::default());
        let stays = |facts: PackFacts| judge(&facts, &rules, &classes);
        let usual = || pack(400, None);
        assert_eq!(stays(usual()), Verdict::Moves(&rules[0]));
        assert_eq!(stays(PackFacts { has_metadata: true, ..usual() }), Verdict::Stays(Reason::Metadata));
        assert_eq!(stays(PackFacts { is_going: true, ..usual() }), Verdict::Stays(Reason::Going));
        assert_eq!(stays(PackFacts { is_known: false, ..usual() }), Verdict::Stays(Reason::Unknown));
        assert_eq!(stays(PackFacts { is_wounded: true, ..usual() }), Verdict::Stays(Reason::Wounded));
        assert_eq!(stays(PackFacts { bytes: 99, ..usual() }), Verdict::Stays(Reason::Small));
    }

    fn facts() -> impl Strategy<Value = PackFacts> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (0_u64..2_000, 0_u32..500, prop::option::of(0..NAMES.len()), flags, 0_u32..500).prop_map(
            |(bytes, age, name, (is_going, has_metadata, is_known, is_wounded), unread)| PackFacts {
                bytes,
                age: DAY * age,
                class: name.map(|name| class(NAMES[name])),
                is_going,
                has_metadata,
                is_known,
                is_wounded,
                unread_for: DAY * unread,
            },
        )
    }

    fn rules() -> impl Strategy<Value = Vec<ArchiveRule>> {
        let one = (0..NAMES.len(), 0_u32..400, 0_u32..400);
        prop::collection::vec(one, 0..4).prop_map(|drawn| {
            let mut rules: Vec<_> =
                drawn.into_iter().map(|(name, after, unread)| rule(NAMES[name], after, unread)).collect();
            rules.sort_by_key(|rule| rule.after);
            let mut seen = std::collections::BTreeSet::new();
            rules.retain(|rule| seen.insert(rule.class.clone()));
            rules
        })
    }

    proptest! {
        /// The relations of the head of this file.
        #[test]
        fn what_moves_may_move(facts in facts(), rules in rules()) {
            let classes = Classes::default();
            let Verdict::Moves(to) = judge(&facts, &rules, &classes) else { return Ok(()) };
            let at = rules.iter().position(|rule| rule == to).expect("one of them");
            prop_assert!(facts.age >= to.after && facts.unread_for >= to.unread_for);
            prop_assert!(facts.bytes >= to.bytes_min);
            prop_assert!(facts.is_known && !facts.has_metadata && !facts.is_going && !facts.is_wounded);
            let known = classes.traits(facts.class.as_ref());
            prop_assert!(!known.sleeps && facts.age >= known.minimum);
            if let Some(class) = &facts.class {
                let from = rules.iter().position(|rule| rule.class == *class).expect("a rule names it");
                prop_assert!(from < at);
            }
            for colder in &rules[at + 1..] {
                prop_assert!(obstacle(&facts, colder).is_some());
            }
        }

        /// Growing older, and not being read, never takes a pack back to a warmer rule.
        #[test]
        fn time_makes_nothing_warmer(facts in facts(), rules in rules(), days in 0_u32..400) {
            let classes = Classes::default();
            let more = DAY * days;
            let later = PackFacts { age: facts.age + more, unread_for: facts.unread_for + more, ..facts.clone() };
            if let Verdict::Moves(now) = judge(&facts, &rules, &classes) {
                let Verdict::Moves(then) = judge(&later, &rules, &classes) else {
                    return Err(TestCaseError::fail("it stays when it is older"));
                };
                prop_assert!(then.after >= now.after);
            }
        }
    }
}

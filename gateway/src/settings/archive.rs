//! `[[archive]]`: which packs come to colder storage classes, and how they come back.

use std::time::Duration;

use tidegate_replicator::store::{ClassTraits, StorageClass};

use super::problems::Problems;
use super::recovery::Price;
use super::schema::table;
use super::values::{Size, Span, choice, text_setting};
use super::{Name, RepositoryAddress, Settings};

/// An hour.
const HOUR: Duration = Duration::from_hours(1);

choice! {
    /// How fast the store thaws, which is a matter of price.
    pub enum ThawTier {
        /// Within minutes, where the class offers it.
        Expedited = "expedited",
        /// Within hours.
        Standard = "standard",
        /// Within half a day to two days: the cheapest.
        Bulk = "bulk",
    }
}

table! {
    /// A colder storage class of a target, and which packs come to it. Only packs that hold file data alone do; what trees
    /// consist of stays warm, and so do all other objects. The gateway that has the target in its settings brings
    /// packs there once a day, by copies within the store. With several classes for one target a pack goes on to the one
    /// with the greatest `after` whose conditions it meets.
    pub struct Archive("archive", repeated) {
        /// The target, which has no `lock`: a change of class is a copy, and there the version before would stay, locked and
        /// paid for. A lifecycle rule of such a bucket may bring `packs/` to a class that does not sleep.
        target: Name, required;
        /// What the store calls the class: `GLACIER`, `DEEP_ARCHIVE`, `STANDARD_IA`, or one of its own.
        class: StorageClass, required;
        /// A pack comes to the class so long after it was stored, or came to the class before.
        after: Span, default(Span::days(90)) in Span::seconds(0), Span::days(3_650);
        /// And if it was not read for so long, as far as gateways know. What was read often counts as read for some days
        /// longer.
        unread_for: Span, default(Span::days(30)) in Span::seconds(0), Span::days(3_650);
        /// And if it is not smaller than this.
        smallest: Size, default(Size::mib(1)) in Size(0), Size::gib(4);
        /// For how long the store charges for an object of the class at least. Before that a pack is neither deleted nor
        /// repacked. Without it: what the class's name means at AWS, and nothing for other names.
        minimum: Span, optional in Span::seconds(0), Span::days(3_650);
        /// Whether objects of the class have to be thawed before they are read. Without it: true for `GLACIER` and
        /// `DEEP_ARCHIVE`, false for other names.
        sleeps: bool, optional;
        /// Packs that come to the class on a day at most.
        packs_daily: u32, default(10_000) in 1, 10_000_000;
        /// For how many days a thawed pack can be read.
        thaw_days: u32, default(7) in 1, 365;
        /// How fast the store is to thaw.
        thaw_tier: ThawTier, default(ThawTier::Standard);
        /// How long it takes. Without it: what AWS says of the class and the tier, at most.
        thaw_takes: Span, optional in Span::seconds(1), Span::days(30);
        /// The most that reads thaw on a day, where a share has `thaw_on_read`.
        thaw_daily: Size, default(Size::gib(100)) in Size::mib(1), Size::tib(1_024);
        /// What a thousand changes to the class cost.
        price_per_thousand_changes: Price, default(Price::FREE);
        /// What a GB (1,000,000,000 bytes) costs that is thawed.
        price_per_gb_thawed: Price, default(Price::FREE);
        /// What a thousand requests cost that thaw.
        price_per_thousand_thaws: Price, default(Price::FREE);
    }
}

text_setting!(StorageClass, "a storage class such as \"GLACIER\"");

impl Archive {
    /// What is known of the class.
    pub fn traits(&self) -> ClassTraits {
        let named = ClassTraits::of_name(&self.class);
        ClassTraits {
            minimum: self.minimum.map_or(named.minimum, Span::duration),
            sleeps: self.sleeps.unwrap_or(named.sleeps),
        }
    }

    /// How long the store takes to thaw.
    pub fn thaw_takes(&self) -> Duration {
        self.thaw_takes.map_or_else(|| usual_thaw(&self.class, self.thaw_tier), Span::duration)
    }
}

/// What AWS says of how long it takes, at most; of a class that it does not have as of the slower one that it has.
pub fn usual_thaw(class: &StorageClass, tier: ThawTier) -> Duration {
    match (class.as_str(), tier) {
        ("GLACIER", ThawTier::Expedited) => HOUR / 12,
        ("GLACIER", ThawTier::Standard) => HOUR * 5,
        ("GLACIER", ThawTier::Bulk) => HOUR * 12,
        (_, ThawTier::Expedited | ThawTier::Standard) => HOUR * 12,
        (_, ThawTier::Bulk) => HOUR * 48,
    }
}

/// Notes classes of what is no target, or can have none, and what stands twice.
pub(super) fn archives_fit(settings: &Settings, problems: &mut Problems<'_>) {
    for (at, archive) in settings.archives.iter().enumerate() {
        let mut note = |key: &str, why: String| problems.add(&format!("archive[{at}].{key}"), None, why);
        let Some(target) = settings.target(archive.target.as_str()) else {
            note("target", format!("names no target: there is no [[target]] \"{}\"", archive.target));
            continue;
        };
        if target.lock.is_some() {
            let why = "has `lock`: a change of class is a copy, and the version before would stay, locked and paid for; a \
                       lifecycle rule of the bucket may bring packs/ to a class that does not sleep";
            note("target", why.to_owned());
        }
        if matches!(target.address, RepositoryAddress::File(_)) {
            note("target", "is a directory, which has no storage classes".to_owned());
        }
        for other in settings.archives[..at].iter().filter(|other| other.target == archive.target) {
            if other.class == archive.class {
                note("class", format!("is {} twice for target {}", archive.class, archive.target));
            } else if other.after == archive.after {
                note(
                    "after",
                    format!("is that of class {} too; the colder one needs a longer time", other.class),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "\
[gateway]
data = \"/var/lib/tidegate\"
[repository]
key = { file = \"/etc/tidegate/key\" }
[[target]]
name = \"cloud\"
address = \"s3://bucket/prefix\"
region = \"eu-central-1\"
[[target]]
name = \"disk\"
address = \"file:///copy\"
[[target]]
name = \"vault\"
address = \"s3://vault/prefix\"
region = \"eu-central-1\"
lock = \"compliance\"
";

    fn parse(archives: &[&str]) -> Result<Settings, String> {
        let text: String = archives.iter().map(|archive| format!("[[archive]]\n{archive}\n")).collect();
        Settings::parse(&format!("{HEAD}{text}")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_what_the_name_means() {
        let archive = "target = \"cloud\"\nclass = \"DEEP_ARCHIVE\"";
        let found = parse(&[archive]).expect("allowed").archives.remove(0);
        let traits = found.traits();
        assert_eq!((traits.minimum, traits.sleeps), (HOUR * 24 * 180, true));
        assert_eq!(found.thaw_takes(), HOUR * 12);
        let said = format!("{archive}\nminimum = \"1d\"\nsleeps = false\nthaw_takes = \"3h\"");
        let found = parse(&[&said]).expect("allowed").archives.remove(0);
        assert_eq!(found.traits(), ClassTraits { minimum: HOUR * 24, sleeps: false });
        assert_eq!(found.thaw_takes(), HOUR * 3);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let cloud = |rest: &str| format!("target = \"cloud\"\n{rest}");
        for (archives, part) in [
            (vec!["target = \"cold\"\nclass = \"GLACIER\"".to_owned()], "names no target"),
            (vec!["target = \"disk\"\nclass = \"GLACIER\"".to_owned()], "is a directory"),
            (vec!["target = \"vault\"\nclass = \"GLACIER\"".to_owned()], "has `lock`"),
            (vec![cloud("class = \"STANDARD\"")], "is what objects are without it"),
            (vec![cloud("class = \"A\""), cloud("class = \"A\"\nafter = \"1d\"")], "twice"),
            (vec![cloud("class = \"A\""), cloud("class = \"B\"")], "needs a longer time"),
        ] {
            let archives: Vec<&str> = archives.iter().map(String::as_str).collect();
            let error = parse(&archives).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        let two = [cloud("class = \"A\""), cloud("class = \"B\"\nafter = \"180d\"")];
        parse(&[&two[0], &two[1]]).expect("two classes, one colder");
    }
}

//! What a notifier is told.

use jiff::Timestamp;
use serde::Serialize;

use crate::control::{Alarm, AlarmCode, Severity};
use crate::policy::hook::variable;

/// Why a notifier hears of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tidings {
    /// It is new to the notifier.
    Raised,
    /// It has become more urgent.
    Worse,
    /// It lasts.
    Lasting,
    /// It is over.
    Cleared,
    /// It is none: somebody tries the notifier.
    Test,
}

impl Tidings {
    /// As it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worse => "worse",
            Self::Lasting => "lasting",
            Self::Cleared => "cleared",
            Self::Test => "test",
        }
    }
}

/// Who tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sender {
    /// The name of its machine.
    pub host: String,
    /// The address of the repository; never a credential.
    pub repository: String,
}

/// See the head of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub tidings: Tidings,
    /// The alarm.
    pub alarm: Alarm,
    /// When this is said.
    pub at: Timestamp,
}

/// The JSON that a webhook gets; `version` rises when a field goes or changes its meaning.
#[derive(Serialize)]
struct Document<'n> {
    version: u32,
    event: Tidings,
    #[serde(flatten)]
    sender: &'n Sender,
    at: Timestamp,
    #[serde(flatten)]
    alarm: &'n Alarm,
    /// All of it, for those who only show it.
    text: String,
}

impl Notice {
    /// Tries a notifier.
    pub fn test(at: Timestamp) -> Self {
        let alarm = Alarm {
            code: AlarmCode::StoreAway,
            subject: "test".to_owned(),
            severity: Severity::Warning,
            since: at,
            message: "this only tries whether alarms arrive; nothing is wrong".to_owned(),
            todo: "nothing".to_owned(),
        };
        Self { tidings: Tidings::Test, alarm, at }
    }

    /// In one line.
    pub fn title(&self, sender: &Sender) -> String {
        let Alarm { code, subject, severity, .. } = &self.alarm;
        let about = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        let what = match self.tidings {
            Tidings::Raised => severity.as_str().to_owned(),
            Tidings::Worse => format!("now {}", severity.as_str()),
            Tidings::Lasting => format!("still {}", severity.as_str()),
            Tidings::Cleared => "over".to_owned(),
            Tidings::Test => return format!("tidegate on {}: a test", sender.host),
        };
        format!("tidegate on {}: {what}: {code}{about}", sender.host)
    }

    /// In a few lines.
    pub fn text(&self, sender: &Sender) -> String {
        let Alarm { since, message, todo, .. } = &self.alarm;
        let said = match self.tidings {
            Tidings::Cleared => format!("over; it had been so since {since}: {message}"),
            Tidings::Test => message.clone(),
            Tidings::Raised | Tidings::Worse | Tidings::Lasting => {
                format!("{message}\nsince: {since}\nwhat to do: {todo}")
            }
        };
        format!("{}\n{said}\nrepository: {}", self.title(sender), sender.repository)
    }

    /// As a webhook gets it.
    pub fn json(&self, sender: &Sender) -> Vec<u8> {
        let text = self.text(sender);
        let document =
            Document { version: 1, event: self.tidings, sender, at: self.at, alarm: &self.alarm, text };
        serde_json::to_vec(&document).expect("strings and times can be written")
    }

    /// As a command gets it.
    pub fn variables(&self, sender: &Sender) -> Vec<(&'static str, String)> {
        let alarm = &self.alarm;
        let variables = [
            ("TIDEGATE_EVENT", self.tidings.as_str().to_owned()),
            ("TIDEGATE_CODE", alarm.code.to_string()),
            ("TIDEGATE_SUBJECT", alarm.subject.clone()),
            ("TIDEGATE_SEVERITY", alarm.severity.as_str().to_owned()),
            ("TIDEGATE_SINCE", alarm.since.to_string()),
            ("TIDEGATE_AT", self.at.to_string()),
            ("TIDEGATE_MESSAGE", alarm.message.clone()),
            ("TIDEGATE_TODO", alarm.todo.clone()),
            ("TIDEGATE_HOST", sender.host.clone()),
            ("TIDEGATE_REPOSITORY", sender.repository.clone()),
        ];
        Vec::from(variables.map(|(name, value)| (name, variable(&value))))
    }
}

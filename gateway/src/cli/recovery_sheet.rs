//! `tidegate key recovery-sheet`: a page to be printed and put into a safe, with all that is needed to get the data
//! back when nothing but the page and the store are left.
//!
//! The key on it is new, and shown this once: on standard output, to whoever asked, and in no log.

use std::io::IsTerminal;

use clap::Args;
use jiff::Timestamp;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde::Serialize;
use tidegate_replicator::repository::{Opened, RecoveryKey, Repository, SlotKey, UtcNanos};
use zeroize::Zeroizing;

use super::Context;
use super::exit::Failure;
use super::terminal::failed;
use crate::assembly::AssemblyError;
use crate::settings::{Settings, Target};

/// Words in a row of the page.
const WORDS_IN_ROW: usize = 4;
/// What the new slot is called when nothing else is said.
const LABEL: &str = "recovery sheet";

#[derive(Debug, Args)]
pub(super) struct Command {
    /// What to call the slot of the new key.
    #[arg(long, default_value = LABEL)]
    label: String,
}

impl Default for Command {
    fn default() -> Self {
        Self { label: LABEL.to_owned() }
    }
}

/// Everything on the page.
#[derive(Serialize)]
struct Sheet {
    made: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    repository: String,
    slot: String,
    label: String,
    words: String,
    recovery_key: String,
    #[serde(skip)]
    picture: String,
}

pub(super) async fn run(
    context: &Context,
    settings: &Settings,
    repository: &Repository<Opened>,
    command: Command,
) -> Result<(), Failure> {
    let key = RecoveryKey::generate().map_err(AssemblyError::from)?;
    let (words, text) = (key.to_words(), key.to_text());
    // What cannot be shown must not open anything.
    let picture = picture(&text)?;
    let (now, slot_key) = (UtcNanos::from(std::time::SystemTime::now()), SlotKey::Recovery(key));
    let slot = repository.add_slot(&slot_key, &command.label, now).await.map_err(AssemblyError::from)?;
    let Target { address, endpoint, region, .. } = &settings.targets[0];
    let sheet = Sheet {
        made: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        address: address.to_string(),
        endpoint: endpoint.as_ref().map(ToString::to_string),
        region: region.as_ref().map(ToString::to_string),
        repository: repository.id().to_string(),
        slot: slot.to_string(),
        label: command.label,
        words: words.to_string(),
        recovery_key: text.to_string(),
        picture,
    };
    context.terminal.say("print this page, put it into a safe, and close this window: it is shown this once");
    context.terminal.data(&sheet, page)
}

/// The key as a QR code of blocks: dark ones on paper, light ones on a screen, which is dark mostly.
fn picture(text: &Zeroizing<String>) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M);
    let code = code.map_err(|error| failed("draw the QR code", &error))?;
    let (dark, light) = if std::io::stdout().is_terminal() {
        (Dense1x2::Light, Dense1x2::Dark)
    } else {
        (Dense1x2::Dark, Dense1x2::Light)
    };
    Ok(code.render::<Dense1x2>().dark_color(dark).light_color(light).quiet_zone(true).build())
}

fn page(sheet: &Sheet) -> String {
    let words: Vec<&str> = sheet.words.split(' ').collect();
    let rows = words.chunks(WORDS_IN_ROW).enumerate().map(|(row, words)| {
        let numbered = words.iter().enumerate().map(|(place, word)| {
            let number = row * WORDS_IN_ROW + place + 1;
            format!("{number:>2} {word:<12}")
        });
        format!("    {}", numbered.collect::<String>().trim_end())
    });
    let options = [("endpoint", &sheet.endpoint), ("region", &sheet.region)];
    let options: String =
        options.iter().filter_map(|(name, value)| Some(format!(" --{name} {}", value.as_ref()?))).collect();
    let place = format!("--address {}{options} --key-file recovery.key", sheet.address);
    let Sheet { made, address, repository, slot, label, recovery_key, picture, .. } = sheet;
    let rows = rows.collect::<Vec<_>>().join("\n");
    format!(
        "TIDEGATE RECOVERY SHEET, made {made}\n\n\
         Whoever has this page and can read the store can read everything. Keep it where only those\n\
         come who may, and not beside the gateway.\n\n\
         Repository  {address}{options}\n\
         Its id      {repository}\n\
         Key slot    {slot} ({label})\n\n\
         The key, in 24 words (their first four letters are enough):\n\n{rows}\n\n\
         The same key in characters, and as a QR code:\n\n    {recovery_key}\n\n{picture}\n\n\
         To get the data back, on any Linux machine with the program `tidegate`:\n\n\
         1. Put the 24 words, or the characters, into a file that only you can read:\n\n    \
         (umask 077; cat >recovery.key)\n\n\
         2. If the store wants credentials, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them\n   \
         into a file of mode 0600, each on a line, and add --credentials-file.\n\
         3. See whether it opens and what is there:\n\n    \
         tidegate check \\\n        {place}\n\n\
         4. Write a share to a folder, or serve it again:\n\n    \
         tidegate restore SHARE --to FOLDER \\\n        {place}\n    \
         tidegate attach SHARE --serve \\\n        {place}\n\n\
         If this page was lost or seen: `tidegate key remove {slot}` keeps it from opening the repository\n\
         from then on; who has used it before may have kept the master key."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_all_that_is_needed() {
        let key = RecoveryKey::generate().expect("chance");
        let sheet = Sheet {
            made: "2026-01-01 00:00 UTC".to_owned(),
            address: "s3://bucket/prefix".to_owned(),
            endpoint: Some("https://s3.example.net".to_owned()),
            region: None,
            repository: "ab".repeat(16),
            slot: "cd".repeat(8),
            label: "safe".to_owned(),
            words: key.to_words().to_string(),
            recovery_key: key.to_text().to_string(),
            picture: picture(&key.to_text()).expect("drawn"),
        };
        let page = page(&sheet);
        let place = "--address s3://bucket/prefix --endpoint https://s3.example.net --key-file recovery.key";
        for part in
            [place, &sheet.repository, &sheet.slot, &sheet.recovery_key, "24 words", "tidegate attach"]
        {
            assert!(page.contains(part), "{part} is not on\n{page}");
        }
        for (number, word) in sheet.words.split(' ').enumerate() {
            assert!(page.contains(&format!("{:>2} {word}", number + 1)), "{word}");
        }
        assert!(page.lines().all(|line| line.chars().count() <= 110), "it fits on paper");
        assert!(sheet.picture.lines().count() > 15);
    }
}

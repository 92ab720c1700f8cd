//! Heartbeats: that a gateway lives, and how it is.

use super::bytes::from_hex;
use super::objects::Json;
use super::{In, Read, Refused, expect, refuse};

const HEARTBEAT_BYTES_MAX: usize = 2_097_152;
const SHARES_MAX: usize = 2_000;
const ALARMS_MAX: usize = 100;

/// What a heartbeat and its name say.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Whose it is, 16 digits.
    pub instance: String,
    /// Rises from one to the next.
    pub sequence: u64,
    /// Whether a planned stop followed.
    pub stopped: bool,
    /// The names of the shares that the gateway led.
    pub led: Vec<String>,
}

/// Reads one; `name` is its name below the folder of its instance.
pub(super) fn parse(instance: &str, name: &str, payload: &[u8]) -> Read<Heartbeat> {
    let (sequence, stopped) = parse_name(name)?;
    expect(from_hex(instance)?.len() == 8, "an instance that is not 8 bytes")?;
    let json = Json::parse(payload, HEARTBEAT_BYTES_MAX)?;
    json.text("host")?;
    json.text("program")?;
    json.time("started_at")?;
    json.time("beat_at")?;
    expect(json.number("every_seconds")? > 0, "a heartbeat without an interval")?;
    let shares = list(&json, "shares", SHARES_MAX)?;
    let mut led = Vec::new();
    for share in &shares {
        let described = share.object("share")?;
        described.id::<16>("id").within("share")?;
        described.id::<16>("domain").within("share")?;
        share.number("rpo_seconds")?;
        share.number("rpo_now_seconds")?;
        match share.value("leads")?.as_bool() {
            Some(true) => led.push(described.text("name")?.to_owned()),
            Some(false) => {}
            None => return refuse("\"leads\" is neither true nor false"),
        }
    }
    for alarm in list(&json, "alarms", ALARMS_MAX)? {
        for field in ["code", "subject", "severity", "message", "todo"] {
            alarm.text(field)?;
        }
        alarm.time("since")?;
    }
    Ok(Heartbeat { instance: instance.to_owned(), sequence, stopped, led })
}

fn parse_name(name: &str) -> Read<(u64, bool)> {
    let (numbers, stopped) = name.strip_suffix("-stopped").map_or((name, false), |numbers| (numbers, true));
    let Some((sequence, random)) = numbers.split_once('-') else { return refuse("no name of a heartbeat") };
    let (sequence, random) = (from_hex(sequence)?, from_hex(random)?);
    expect(random.len() == 4, "no name of a heartbeat")?;
    let sequence = sequence.try_into().map_err(|_| Refused("no name of a heartbeat".into()))?;
    Ok((!u64::from_be_bytes(sequence), stopped))
}

/// A list of objects; one that is absent is empty.
fn list(json: &Json, field: &str, most: usize) -> Read<Vec<Json>> {
    let Ok(value) = json.value(field) else { return Ok(Vec::new()) };
    let Some(values) = value.as_array() else { return refuse(format!("{field:?} is no list")) };
    expect(values.len() <= most, "a list that is too long").within(field)?;
    let object = |value: &serde_json::Value| match value {
        serde_json::Value::Object(fields) => Ok(Json(fields.clone())),
        _ => refuse(format!("{field:?} holds what is no object")),
    };
    values.iter().map(object).collect()
}

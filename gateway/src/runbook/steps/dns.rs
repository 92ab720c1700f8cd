//! `dns`: changes a name by `nsupdate` (RFC 2136), signed with a key where there is one (TSIG, RFC 8945).
//!
//! All records of the name and type are replaced in one message, so nobody sees the name without one. The key is given to the
//! program on its standard input, never on its command line, and wiped afterwards. Values were checked to be single words, so
//! they cannot become commands.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::child::Child;
use super::{find_program, key};
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::{HostName, Step};

pub(in super::super) async fn change_name(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let (name, values) = (record(site, step)?, site.words().fill_all(&step.values));
    update(step, name, &values).await?;
    Ok(Done::saying(format!("{name} {} says {}", step.record_type, values.join(", "))))
}

pub(in super::super) async fn take_name_back(site: &Site, step: &Step) -> Result<String, StepFailure> {
    let name = record(site, step)?;
    // The name of a drill was made by it.
    let drill = site.run.mode.is_drill();
    let values = if drill { Vec::new() } else { site.words().fill_all(&step.undo_values) };
    update(step, name, &values).await?;
    Ok(match values.as_slice() {
        [] => format!("{name} {} says nothing", step.record_type),
        values => format!("{name} {} says {}", step.record_type, values.join(", ")),
    })
}

fn record<'s>(site: &Site, step: &'s Step) -> Result<&'s HostName, StepFailure> {
    if site.run.mode.is_drill() {
        return key(step.drill_record.as_ref(), "drill_record");
    }
    key(step.record.as_ref(), "record")
}

async fn update(step: &Step, name: &HostName, values: &[String]) -> Result<(), StepFailure> {
    let mut script = Zeroizing::new(Vec::new());
    if let (Some(key_name), Some(reference)) = (&step.tsig_name, &step.tsig_secret) {
        let secret = reference.resolve().await.map_err(|error| StepFailure::passing(error.to_string()))?;
        let secret = secret.expose_text().map(str::trim).unwrap_or_default();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        if secret.is_empty() || !secret.bytes().all(legal) {
            return Err(StepFailure::lasting(format!("the key in {reference} is not base64")));
        }
        for part in ["key ", step.tsig_algorithm.as_str(), ":", key_name.as_str(), " ", secret, "\n"] {
            script.extend_from_slice(part.as_bytes());
        }
    }
    script.extend_from_slice(commands(step, name, values)?.as_bytes());
    Child::new(&find_program("nsupdate")?, ["-t", "20"], Vec::new())
        .reading(&script)
        .run()
        .await?
        .succeeded()?;
    Ok(())
}

/// What `nsupdate` is told.
fn commands(step: &Step, name: &HostName, values: &[String]) -> Result<String, StepFailure> {
    let (server, zone) = (key(step.server.as_ref(), "server")?, key(step.zone.as_ref(), "zone")?);
    let (kind, ttl) = (step.record_type, step.ttl.duration().as_secs());
    let (server, port) = match server.as_str().rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port),
        _ => (server.as_str(), "53"),
    };
    let mut text = format!("server {server} {port}\nzone {zone}.\nupdate delete {name}. {kind}\n");
    for value in values {
        if value.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            return Err(StepFailure::lasting("a value has a blank in it"));
        }
        writeln!(text, "update add {name}. {ttl} {kind} {value}").expect("writing to a string cannot fail");
    }
    text.push_str("send\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table_from_json;

    #[test]
    fn a_name_is_replaced_in_one_message() {
        let json = serde_json::json!({
            "name": "n", "action": "dns", "server": "192.0.2.53:5353", "zone": "example.net",
            "record": "files.example.net", "values": ["192.0.2.7", "192.0.2.8"], "ttl": "30s",
        });
        let (step, _) = table_from_json::<Step>(&json).expect("a step");
        let name = step.record.clone().expect("it is set");
        let values = ["192.0.2.7".to_owned(), "192.0.2.8".to_owned()];
        assert_eq!(
            commands(&step, &name, &values).expect("commands"),
            "server 192.0.2.53 5353\nzone example.net.\nupdate delete files.example.net. A\n\
             update add files.example.net. 30 A 192.0.2.7\nupdate add files.example.net. 30 A 192.0.2.8\nsend\n"
        );
        assert!(commands(&step, &name, &["1\nsend".to_owned()]).is_err(), "values cannot become commands");
        assert!(commands(&step, &name, &[]).expect("commands").ends_with("A\nsend\n"));
    }
}

//! Tidegate, whose source of backup the folder is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tidegate_benches::process::{Watched, run};
use tidegate_benches::{Outcome, tidegate_program};

use crate::store::BUCKET;
use crate::tool::{Place, Tool};

/// What to call it.
pub(crate) const NAME: &str = "tidegate";

pub(crate) struct Tidegate;

impl Tidegate {
    fn command(place: &Place) -> Outcome<Command> {
        let mut command = Command::new(tidegate_program()?);
        command.arg("--settings").arg(place.own.join("tidegate.toml"));
        place.sign_in(&mut command);
        Ok(command)
    }

    /// With a gateway that runs for this long; the peak of its memory, and what the work answers, together.
    fn with_gateway(place: &Place, work: impl FnOnce() -> Outcome<u64>) -> Outcome<u64> {
        let (socket, log) = (place.own.join("admin.sock"), place.own.join("log"));
        let gateway = Watched::gateway(Self::command(place)?.arg("serve"), &socket, &log)?;
        let peak = work()?;
        Ok(peak + gateway.stop()?)
    }

    /// The ids of all snapshots of the source, newest first.
    fn snapshots(place: &Place) -> Outcome<Vec<String>> {
        let listed = Self::command(place)?.args(["--json", "snapshot", "list", "source"]).output()?;
        let listed: Value = serde_json::from_slice(&listed.stdout)?;
        let id = |snapshot: &Value| Some(snapshot.get("id")?.as_str()?.to_owned());
        listed
            .as_array()
            .and_then(|all| all.iter().map(id).collect())
            .ok_or_else(|| "a list without ids".into())
    }
}

impl Tool for Tidegate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn missing(&self) -> Option<String> {
        tidegate_program().err().map(|error| error.to_string())
    }

    fn prepare(&self, place: &Place) -> Outcome<()> {
        let own = place.own.display();
        let target = match &place.bucket {
            Some(bucket) => {
                format!("address = \"s3://{BUCKET}\"\nendpoint = \"{}\"", bucket.endpoint())
            }
            None => format!("address = \"file://{}\"", place.repository.display()),
        };
        let settings = format!(
            "[gateway]\ndata = \"{own}/data\"\nsocket = \"{own}/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"{own}/repository.key\" }}\n\n\
             [[target]]\nname = \"local\"\n{target}\n\n\
             [nfs]\nlisten = []\n\n\
             [retention]\nheads = []\nbin = \"0s\"\n\n\
             [[source]]\nname = \"source\"\nfolder = \"{}\"\n",
            place.source.display()
        );
        fs::write(place.own.join("tidegate.toml"), settings)?;
        run(Self::command(place)?.arg("init")).map(|_| ())
    }

    fn save(&self, place: &Place) -> Outcome<u64> {
        Self::with_gateway(place, || run(Self::command(place)?.args(["source", "run", "source"])))
    }

    fn restore(&self, place: &Place) -> Outcome<u64> {
        run(Self::command(place)?.args(["restore", "source", "--to"]).arg(&place.restored))
    }

    fn forget(&self, place: &Place) -> Outcome<u64> {
        Self::with_gateway(place, || {
            let mut peak = 0;
            for snapshot in Self::snapshots(place)?.iter().skip(1) {
                let removed =
                    run(Self::command(place)?.args(["snapshot", "remove", "--yes", "source", snapshot]))?;
                peak = removed.max(peak);
            }
            let mut collect = Self::command(place)?;
            collect.args(["gc", "--yes", "--grace", "0s", "--delete-percent-max", "100"]);
            Ok(run(&mut collect)?.max(peak))
        })
    }

    fn restored_content(&self, place: &Place) -> PathBuf {
        place.restored.clone()
    }
}

//! Machines in Amazon EC2, whose disks are copies of volumes.
//!
//! An instance cannot boot over NBD, so its disks are copied before it is started ([`Provider::prepare`]): each as an EBS snapshot, by
//! the EBS direct APIs, of which only what has changed since an earlier snapshot is sent. From the snapshots an image is made, and from
//! that the instance. What the instance writes stays on its EBS volumes: it does not come back into the shares.
//!
//! ```text
//! client       both services, as the settings say
//!   query      calls of EC2, and their answers (xml)
//! note         what was made for a machine, in its folder
//! copy         one disk as a snapshot
//!   progress   how far that is, in a file
//! snapshots    snapshots that are complete, found by their tags
//! image        snapshots and how to boot
//! instance     made, asked for, ended
//! tags, error
//! ```
//!
//! Promises:
//!
//! * **Nothing is touched that was not made here.** Whatever is made has a mark of this machine in this place as a tag, which
//!   is random; what has not that mark is neither counted as the machine nor ended. Snapshots alone are shared, those that say which disk
//!   they are of: a complete one is used whoever made it. Backups of the instance's volumes, which may take over its mark, are none.
//! * **Every step may be asked for twice**, also by another process after a crash: an image has a name by what it is made of, an instance a
//!   token by which EC2 knows the request for one of that image again, and the note is durable before either.
//! * **What EC2 does not show is not taken for gone** within a minute after it was asked for; and it is looked for where it was made,
//!   whatever the settings say since.
//! * **The newest snapshot stays** when a machine is stopped, for the next one to lie over; older ones of the disk go. So do
//!   the image, the instance and, unless `keep_disks` says otherwise, its volumes.
//! * **A trial**, in a drill or over scratch disks, leaves what others have made as it is, tags too, and no volumes of its own.
//!
//! It has not been run against AWS, but against moto, which takes the same requests and checks little of them.

mod client;
mod copy;
#[cfg(test)]
mod door;
mod error;
mod image;
mod instance;
mod note;
mod progress;
mod query;
mod snapshots;
mod tags;
mod xml;

use std::time::Duration;

use async_trait::async_trait;

use self::client::Clients;
use self::copy::Copier;
use self::error::Doing;
use self::instance::{Found, Standing};
use self::note::{Note, Place};
use self::progress::Progress;
use super::{Contents, MachineSpec, MachineState, Provider, ProviderError, Running, Stop};
use crate::control::JobHandle;
use crate::settings;

/// See the head of this module.
#[derive(Debug)]
pub struct Ec2Provider {
    machine: settings::Machine,
}

impl Ec2Provider {
    /// With what the settings say of a machine.
    pub fn new(machine: &settings::Machine) -> Self {
        Self { machine: machine.clone() }
    }

    /// Where the settings have the machine.
    fn place(&self, doing: Doing<'_>) -> Result<Place, ProviderError> {
        let region = self.machine.region.as_ref().map(|region| region.as_str().to_owned());
        let region = region.ok_or_else(|| doing.failed("its settings name no region"))?;
        let endpoint = self.machine.endpoint.as_ref().map(|url| url.as_str().to_owned());
        Ok(Place { region, endpoint })
    }

    /// Where what is noted was made.
    async fn clients(&self, doing: Doing<'_>, note: &Note) -> Result<Clients, ProviderError> {
        let place = note.place.clone().map_or_else(|| self.place(doing), Ok)?;
        Clients::of(&self.machine, &place).await
    }

    /// What is noted, for something to be made: a new note if there is none. Refused if what was made for it is in another place.
    fn note(&self, doing: Doing<'_>, spec: &MachineSpec) -> Result<Note, ProviderError> {
        let place = self.place(doing)?;
        let mut note = Note::load_or_begin(&spec.folder, &place).map_err(doing.local())?;
        if let Some(there) = note.place.as_ref().filter(|there| **there != place) {
            return Err(doing.failed(format!(
                "its settings say {place}, and what was made for it is in {there}; stop it first, which ends that: \
                 `tidegate machine stop {}`",
                spec.name
            )));
        }
        let is_trial = spec.scratch || self.machine.is_of_drill();
        if note.is_trial != is_trial && (note.instance.is_some() || note.asked.is_some()) {
            // The disks of a trial end with it, and those of the other are nobody's to try things on.
            let kind = |is_trial| if is_trial { "a trial" } else { "to stay" };
            return Err(doing.failed(format!(
                "its instance was made as {}, and this is {}; stop it first, which ends that: `tidegate machine stop {}`",
                kind(note.is_trial),
                kind(is_trial),
                spec.name
            )));
        }
        (note.place, note.is_trial) = (Some(place), is_trial);
        Ok(note)
    }

    fn timeout(&self) -> Duration {
        self.machine.timeout.duration()
    }

    /// Its instance, made and running.
    async fn running(
        &self,
        clients: &Clients,
        spec: &MachineSpec,
        mut note: Note,
    ) -> Result<String, ProviderError> {
        let doing = Doing { what: "start", name: &spec.name };
        let found = instance::find_surely(clients, doing, &note).await?;
        match found.as_ref().map(|found| found.standing) {
            Some(Standing::Running) => return Err(ProviderError::Runs { name: spec.name.clone() }),
            Some(Standing::Ending) => {
                return Err(doing.failed("its instance is ending; try again when it has"));
            }
            Some(Standing::Pending) => {}
            Some(Standing::Stopped) if note.is_trial => {
                return Err(doing.failed(format!(
                    "its instance was stopped from within, and a trial begins from its copies; stop it first: \
                     `tidegate machine stop {}`",
                    spec.name
                )));
            }
            Some(Standing::Stopped) => {
                let id = found.as_ref().map_or("", |found| found.id.as_str());
                instance::start_again(clients, doing, id).await?;
            }
            Some(Standing::Gone) | None => {
                if found.is_some() || note.instance.is_some() {
                    // Its token would give it again: EC2 knows it for longer than it shows one that has ended.
                    note.instance_ended();
                }
                self.run_instance(clients, doing, spec, &mut note).await?;
            }
        }
        instance::until_it_runs(clients, doing, &note, self.timeout()).await?;
        let id = note.instance.or(found.map(|found| found.id));
        id.ok_or_else(|| doing.failed("EC2 does not say what its instance is called"))
    }

    async fn run_instance(
        &self,
        clients: &Clients,
        doing: Doing<'_>,
        spec: &MachineSpec,
        note: &mut Note,
    ) -> Result<(), ProviderError> {
        if spec.copies.len() != spec.disks.len() {
            return Err(doing.failed("its disks are not copied; start it again"));
        }
        let image = image::ensure(clients, doing, &self.machine, note, &spec.copies).await?;
        note.image = Some(image.clone());
        note.ask();
        note.save(&spec.folder).map_err(doing.local())?;
        match instance::run(clients, doing, &self.machine, note, &image).await {
            Ok(id) => {
                note.instance = Some(id);
                note.save(&spec.folder).map_err(doing.local())
            }
            Err(not_made) => {
                if not_made.for_sure {
                    // The next attempt has another token: this one would be answered as now for as long as EC2 knows it.
                    note.instance_ended();
                    note.save(&spec.folder).map_err(doing.local())?;
                }
                Err(not_made.why)
            }
        }
    }
}

/// Takes away snapshots of its disks that nobody needs: copies that were begun for it and never completed, and those that are older
/// than the newest; a trial, only those that were made for trials.
async fn remove_snapshots(clients: &Clients, doing: Doing<'_>, note: &Note) -> Result<(), ProviderError> {
    let own = snapshots::with_tag(clients, doing, tags::OWNER, &note.owner).await?;
    for snapshot in own.iter().filter(|snapshot| snapshot.is_begun_copy()) {
        snapshots::delete(clients, doing, &snapshot.id).await?;
    }
    for disk in &note.disks {
        let known = snapshots::complete(clients, doing, disk).await?;
        for old in known.iter().skip(1).filter(|old| !note.is_trial || old.is_of_trial) {
            snapshots::delete(clients, doing, &old.id).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Provider for Ec2Provider {
    async fn prepare(
        &self,
        spec: &MachineSpec,
        contents: &dyn Contents,
        job: &JobHandle,
    ) -> Result<Vec<String>, ProviderError> {
        let doing = Doing { what: "copy the disks of", name: &spec.name };
        let mut note = self.note(doing, spec)?;
        let clients = &self.clients(doing, &note).await?;
        let found = instance::find_surely(clients, doing, &note).await?;
        if found.is_some_and(|found| found.standing != Standing::Gone) {
            // It has disks of its own, with what it wrote to them.
            return Ok(Vec::new());
        }
        let mut copies = Vec::new();
        note.disks.clear();
        for (disk_at, disk) in spec.disks.iter().enumerate() {
            let content = contents.open(&disk.export).await.map_err(|error| doing.failed(error.0))?;
            note.disks.push(tags::disk_of(content.origin()));
            note.save(&spec.folder).map_err(doing.local())?;
            let tags = tags::common(&self.machine, &spec.name, &note.owner);
            let (folder, owner, is_trial) = (spec.folder.as_path(), note.owner.as_str(), note.is_trial);
            let copier = Copier { clients, doing, folder, disk_at, owner, is_trial, tags, job };
            copies.push(copier.copy(&*content).await?);
        }
        Ok(copies)
    }

    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError> {
        let doing = Doing { what: "start", name: &spec.name };
        let note = self.note(doing, spec)?;
        let id = self.running(&self.clients(doing, &note).await?, spec, note).await?;
        Ok(Running { name: spec.name.clone(), id, folder: spec.folder.clone(), console: None })
    }

    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError> {
        let doing = Doing { what: "ask for the state of", name: &machine.name };
        let Some(note) = Note::load(&machine.folder).map_err(doing.local())? else {
            return Ok(MachineState::Stopped);
        };
        let found = instance::find(&self.clients(doing, &note).await?, doing, &note).await?;
        Ok(match found {
            None if !note.unsettled().is_zero() => MachineState::Unwell(
                "its instance was asked for a moment ago, and EC2 does not show it yet".into(),
            ),
            Some(Found { standing: Standing::Running, .. }) => MachineState::Running,
            Some(Found { standing: Standing::Pending, id, .. }) => {
                MachineState::Unwell(format!("instance {id} is being made"))
            }
            Some(Found { standing: Standing::Ending, id, .. }) => {
                MachineState::Unwell(format!("instance {id} is ending"))
            }
            // A start goes on with the one that has stopped.
            Some(Found { standing: Standing::Stopped | Standing::Gone, .. }) | None => MachineState::Stopped,
        })
    }

    async fn stop(&self, machine: &Running, how: Stop) -> Result<(), ProviderError> {
        let doing = Doing { what: "stop", name: &machine.name };
        let Some(note) = Note::load(&machine.folder).map_err(doing.local())? else { return Ok(()) };
        let clients = &self.clients(doing, &note).await?;
        instance::end(clients, doing, &note, how, self.timeout()).await?;
        image::remove_all(clients, doing, &note).await?;
        remove_snapshots(clients, doing, &note).await?;
        for disk_at in 0..note.disks.len() {
            Progress::remove(&machine.folder, disk_at).map_err(doing.local())?;
        }
        Note::remove(&machine.folder).map_err(doing.local())
    }
}

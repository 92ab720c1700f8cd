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
//!   is random; what has not that mark is neither counted as the machine nor ended. Snapshots alone are shared: a complete one of the
//!   same disk is used whoever made it.
//! * **Every step may be asked for twice**, also by another process after a crash: an image has a name of its own, an instance a token
//!   by which EC2 knows the request again, and the note is durable before either.
//! * **The newest snapshot stays** when a machine is stopped, for the next one to lie over; older ones of the disk go. So do
//!   the image, the instance and, unless `keep_disks` says otherwise, its volumes.
//!
//! It has not been run against AWS, but against moto, which takes the same requests and checks little of them.

mod client;
mod copy;
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
use tokio::sync::OnceCell;

use self::client::Clients;
use self::copy::Copier;
use self::error::Doing;
use self::instance::{Found, Standing};
use self::note::Note;
use self::progress::Progress;
use super::{Contents, MachineSpec, MachineState, Provider, ProviderError, Running, Stop};
use crate::control::JobHandle;
use crate::settings;

/// See the head of this module.
#[derive(Debug)]
pub struct Ec2Provider {
    machine: settings::Machine,
    clients: OnceCell<Clients>,
}

impl Ec2Provider {
    /// With what the settings say of a machine.
    pub fn new(machine: &settings::Machine) -> Self {
        Self { machine: machine.clone(), clients: OnceCell::new() }
    }

    async fn clients(&self) -> Result<&Clients, ProviderError> {
        self.clients.get_or_try_init(|| Clients::of(&self.machine)).await
    }

    fn timeout(&self) -> Duration {
        self.machine.timeout.duration()
    }

    /// Its instance, made and running.
    async fn running(&self, spec: &MachineSpec, mut note: Note) -> Result<String, ProviderError> {
        let (clients, doing) = (self.clients().await?, Doing { what: "start", name: &spec.name });
        let found = instance::find(clients, doing, &note).await?;
        match found.as_ref().map(|found| found.standing) {
            Some(Standing::Running) => return Err(ProviderError::Runs { name: spec.name.clone() }),
            Some(Standing::Ending) => {
                return Err(doing.failed("its instance is ending; try again when it has"));
            }
            Some(Standing::Pending) => {}
            Some(Standing::Stopped) => {
                let id = found.as_ref().map_or("", |found| found.id.as_str());
                instance::start_again(clients, doing, id).await?;
            }
            Some(Standing::Gone) | None => {
                if found.is_some() {
                    // Its token would give it again.
                    (note.instance, note.before) = (None, note.before + 1);
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
        note.save(&spec.folder).map_err(doing.local())?;
        let id = instance::run(clients, doing, &self.machine, note, &image).await?;
        note.instance = Some(id);
        note.save(&spec.folder).map_err(doing.local())
    }

    /// Takes away snapshots of its disks that nobody needs: those that were begun for it and never completed, and those that are older
    /// than the newest.
    async fn remove_snapshots(&self, doing: Doing<'_>, note: &Note) -> Result<(), ProviderError> {
        let clients = self.clients().await?;
        let own = snapshots::with_tag(clients, doing, tags::OWNER, &note.owner).await?;
        for snapshot in own.iter().filter(|snapshot| !snapshot.is_complete()) {
            snapshots::delete(clients, doing, &snapshot.id).await?;
        }
        for disk in &note.disks {
            for old in snapshots::complete(clients, doing, disk).await?.iter().skip(1) {
                snapshots::delete(clients, doing, &old.id).await?;
            }
        }
        Ok(())
    }
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
        let clients = self.clients().await?;
        let mut note = Note::load_or_begin(&spec.folder).map_err(doing.local())?;
        let found = instance::find(clients, doing, &note).await?;
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
            let copier = Copier { clients, doing, folder: &spec.folder, disk_at, tags, job };
            copies.push(copier.copy(&*content).await?);
        }
        Ok(copies)
    }

    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError> {
        let doing = Doing { what: "start", name: &spec.name };
        let note = Note::load_or_begin(&spec.folder).map_err(doing.local())?;
        let id = self.running(spec, note).await?;
        Ok(Running { name: spec.name.clone(), id, folder: spec.folder.clone(), console: None })
    }

    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError> {
        let doing = Doing { what: "ask for the state of", name: &machine.name };
        let Some(note) = Note::load(&machine.folder).map_err(doing.local())? else {
            return Ok(MachineState::Stopped);
        };
        let found = instance::find(self.clients().await?, doing, &note).await?;
        Ok(match found {
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
        let clients = self.clients().await?;
        instance::end(clients, doing, &note, how, self.timeout()).await?;
        image::remove(clients, doing, &note).await?;
        self.remove_snapshots(doing, &note).await?;
        for disk_at in 0..note.disks.len() {
            Progress::remove(&machine.folder, disk_at).map_err(doing.local())?;
        }
        Note::remove(&machine.folder).map_err(doing.local())
    }
}

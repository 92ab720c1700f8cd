//! What a command writes to its standard output, as one file.
//!
//! There is a snapshot only of a command that ended with 0 within its time, and left nothing behind that could go on writing.

use std::io::{self, Read};
use std::time::Duration;

use tidegate_replicator::backup::{
    BackupError, Content, Cut, Ended, Found, Listed, Opened, Source, SourceError, Take, Told, Trust,
    WantedFiles,
};
use tidegate_replicator::map::{Kind, Timestamp};

use super::child::{Cancelled, Running, WORDS_BYTES_MAX};
use super::plain;

/// See the head of this module.
pub struct CommandSource {
    /// The program and its arguments; the program is an absolute path.
    pub command: Vec<String>,
    /// The name of the file.
    pub file_name: String,
    /// How long it may take.
    pub timeout: Duration,
    /// The time of the run.
    pub now: Timestamp,
    /// Asked whether to stop.
    pub cancelled: Cancelled,
}

impl CommandSource {
    fn file(&self) -> Found {
        plain(self.file_name.as_bytes(), Kind::Regular, self.now)
    }
}

impl Source for CommandSource {
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError> {
        let top = plain(b"", Kind::Directory, Timestamp::default());
        told(Listed::Found(Found { trust: Trust::Attributes, ..top }))?;
        told(Listed::Found(self.file()))
    }

    fn read(&mut self, wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError> {
        for wanted in wanted {
            let wanted = wanted?;
            let (extended, cut) = (Vec::new(), Cut::Content);
            if wanted.found.kind == Kind::Directory {
                let found = wanted.found.clone();
                take(wanted, Ok(Opened { found, extended, cut, content: None }))?;
                continue;
            }
            let mut running = self.start()?;
            let output = running.output();
            let stream = Stream { output, begun: false, bytes: 0 };
            let content: Option<Box<dyn Content>> = Some(Box::new(stream));
            take(wanted, Ok(Opened { found: self.file(), extended, cut, content }))?;
            running.succeed()?;
        }
        Ok(())
    }
}

impl CommandSource {
    fn start(&self) -> Result<Running, SourceError> {
        let [program, arguments @ ..] = &self.command[..] else {
            return Err(SourceError::new("the command is empty"));
        };
        let arguments = arguments.iter().cloned();
        let bounds = (self.timeout, WORDS_BYTES_MAX);
        Running::start(program, arguments, (&[], false), bounds, self.cancelled.clone())
    }
}

struct Stream<R> {
    output: Option<R>,
    begun: bool,
    bytes: u64,
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(output) = &mut self.output else { return Ok(0) };
        let count = output.read(out)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

impl<R: Read + Send> Content for Stream<R> {
    fn next_data(&mut self) -> io::Result<Option<u64>> {
        Ok((!std::mem::replace(&mut self.begun, true)).then_some(0))
    }

    fn end(&mut self) -> io::Result<Ended> {
        Ok(Ended { size: self.bytes, torn: false })
    }

    fn again(&mut self) -> io::Result<Option<Found>> {
        Ok(None)
    }
}

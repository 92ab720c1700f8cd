//! Keeps servers busy: on many connections, each with many operations going at once.
//!
//! An operation is one call or several that follow each other, as a client would make them. What is
//! counted is the time from the first call of an operation to its last answer, and units: what a load
//! says an operation is worth (one, or the entries of a listing, or the writes of a batch).

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::durations::Durations;
use crate::{Call, Connection, Outcome};

/// One operation after the other.
pub trait Work {
    /// The first call of the next operation; none when there is nothing more to do.
    fn begin(&mut self) -> Outcome<Option<Call>>;

    /// The call that follows this answer; none when the operation is done.
    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>>;

    /// What the operation that was just done is worth.
    fn units(&self) -> u64 {
        1
    }
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What each operation took.
    pub taken: Durations,
    /// What they were worth together.
    pub units: u64,
    /// Seconds from the first call to the last answer.
    pub elapsed: f64,
}

impl Run {
    /// Units a second.
    pub fn per_second(&self) -> f64 {
        self.units as f64 / self.elapsed
    }

    /// Milliseconds below which this part of the operations stayed.
    pub fn within_ms(&self, part: f64) -> f64 {
        1e3 * self.taken.within(part)
    }
}

/// Keeps several works going on one connection until the time is over or all of them are done.
pub fn pump<W: Work>(connection: &mut Connection, works: &mut [W], until: Option<Instant>) -> Outcome<Run> {
    let (start, mut run, mut going) = (Instant::now(), Run::default(), 0);
    let mut begun = vec![start; works.len()];
    for (number, work) in works.iter_mut().enumerate() {
        if let Some(call) = work.begin()? {
            connection.queue(number as u32, &call)?;
            going += 1;
        }
    }
    while going > 0 {
        // What has come already is answered together.
        if !connection.has_more() {
            connection.send()?;
        }
        let (number, body) = connection.receive()?;
        let work = works.get_mut(number as usize).ok_or("a reply to no call")?;
        let mut next = work.follow(body)?;
        if next.is_none() {
            let now = Instant::now();
            run.taken.add((now - begun[number as usize]).as_secs_f64());
            run.units += work.units();
            if until.is_none_or(|until| now < until) {
                begun[number as usize] = now;
                next = work.begin()?;
            }
        }
        match next {
            Some(call) => connection.queue(number, &call)?,
            None => going -= 1,
        }
    }
    run.elapsed = start.elapsed().as_secs_f64();
    Ok(run)
}

/// Runs works on so many connections at once, each with what `make` gives it; makes them first, so that
/// only the works themselves are measured.
pub fn pump_all<W: Work + Send>(
    address: SocketAddr,
    connections: usize,
    time: Option<Duration>,
    make: impl Fn(usize, &mut Connection) -> Outcome<Vec<W>> + Sync,
) -> Outcome<Run> {
    let made = Barrier::new(connections);
    let one = |number: usize| {
        let prepared = Connection::open(address).and_then(|mut connection| {
            let works = make(number, &mut connection)?;
            Ok((connection, works))
        });
        // Also who failed is waited for.
        made.wait();
        let (mut connection, mut works) = prepared.map_err(|error| error.to_string())?;
        let until = time.map(|time| Instant::now() + time);
        pump(&mut connection, &mut works, until).map_err(|error| error.to_string())
    };
    let runs = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..connections).map(|number| scope.spawn(move || one(number))).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread died".to_owned())?);
        ended.collect::<Result<Vec<Run>, String>>()
    })?;
    let mut all = Run::default();
    for run in runs {
        all.taken.extend(&run.taken);
        all.units += run.units;
        all.elapsed = all.elapsed.max(run.elapsed);
    }
    Ok(all)
}

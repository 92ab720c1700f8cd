//! The loads: what the requests of each row are.

use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Lengths of objects, each with how many of them a GET chooses from and how many requests a second are
/// signed before the clock starts; what goes beyond is signed on the way.
const SIZES: [(u64, usize, f64); 3] = [(4 * KIB, 1000, 12_000.0), (MIB, 64, 1000.0), (LARGE_BYTES, 4, 0.0)];
/// Objects of this length are put by number and not by time, as they fill disks.
const LARGE_BYTES: u64 = 64 * MIB;
/// So many of them in a round, or one for each client.
const LARGE_PUTS: usize = 4;
/// And in no more rounds than these.
const LARGE_ROUNDS_MAX: usize = 2;
/// Clients at once.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// What is done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Put,
    Get,
}

/// Requests for objects of one length by so many clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) verb: Verb,
    /// Length of each object.
    pub(crate) bytes: u64,
    pub(crate) clients: usize,
    /// How many objects there are to get.
    pub(crate) objects: usize,
    signed_a_second: f64,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    Transfer(Transfer),
    /// All keys page after page, or what stands before their first slash.
    List {
        delimiter: bool,
    },
}

impl Load {
    /// All of them, in order of rows.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (bytes, objects, signed_a_second) in SIZES {
            for verb in [Verb::Put, Verb::Get] {
                let transfer =
                    |clients| Self::Transfer(Transfer { verb, bytes, clients, objects, signed_a_second });
                all.extend(CLIENTS.map(transfer));
            }
        }
        all.extend([false, true].map(|delimiter| Self::List { delimiter }));
        all
    }

    /// What to call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Transfer(Transfer { verb, bytes, clients, .. }) => {
                let verb = if verb == Verb::Put { "put" } else { "get" };
                let size =
                    if bytes < MIB { format!("{} KiB", bytes / KIB) } else { format!("{} MiB", bytes / MIB) };
                format!("{verb} {size}, {clients} client{}", if clients == 1 { "" } else { "s" })
            }
            Self::List { delimiter: false } => "list keys".to_owned(),
            Self::List { delimiter: true } => "list with delimiter".to_owned(),
        }
    }

    /// So many operations or entries a second, in the unit of the row.
    pub(crate) fn rate(self, per_second: f64) -> String {
        match self {
            Self::Transfer(Transfer { bytes, .. }) if bytes >= MIB => {
                format!("{:.0} MiB", per_second * (bytes / MIB) as f64)
            }
            Self::Transfer(_) => format!("{per_second:.0} objects"),
            Self::List { .. } => format!("{per_second:.0} entries"),
        }
    }

    /// How many of so many rounds there are.
    pub(crate) fn rounds(self, rounds: usize) -> usize {
        match self {
            Self::Transfer(transfer) if transfer.puts_of_a_client().is_some() => rounds.min(LARGE_ROUNDS_MAX),
            _ => rounds,
        }
    }
}

impl Transfer {
    /// How many objects each client puts, where the time does not say it.
    pub(crate) fn puts_of_a_client(self) -> Option<usize> {
        (self.verb == Verb::Put && self.bytes == LARGE_BYTES).then(|| LARGE_PUTS.div_ceil(self.clients))
    }

    /// Whether a client that has done so many requests in so long has done its part.
    pub(crate) fn is_over(self, done: usize, elapsed: Duration, time: Duration) -> bool {
        self.puts_of_a_client().map_or_else(|| done > 0 && elapsed >= time, |puts| done >= puts)
    }

    /// How many requests of a client are signed before the clock starts.
    pub(crate) fn signed_before(self, time: Duration) -> usize {
        (self.signed_a_second * time.as_secs_f64() / self.clients as f64) as usize
    }

    /// The key of a client's request in a run.
    pub(crate) fn key(self, run: u64, client: usize, number: usize) -> String {
        match self.verb {
            Verb::Get => self.readable((client + number * self.clients) % self.objects),
            // The same ones in every round.
            Verb::Put if self.puts_of_a_client().is_some() => format!("large/{client}/{number}"),
            Verb::Put => format!("put/{run}/{client}/{number:06}"),
        }
    }

    /// The key of an object that is there to be read.
    pub(crate) fn readable(self, number: usize) -> String {
        format!("read/{}/{number:04}", self.bytes)
    }
}

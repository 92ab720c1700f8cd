//! From a record to its reply: finds the program, remembers answers, measures.
//!
//! Two steps, so that a transport can reserve memory in between: [`Programs::receive`] reads the
//! header and says how large the reply may become, [`Programs::answer`] carries the call out. A
//! program that panics costs its caller a SYSTEM_ERR and nobody else anything.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;

use super::message::{CallHeader, Refusal, Reply, Verdict};
use super::program::{Answer, Program, Request, Transport};
use crate::retransmission::{Attempt, Client, Kind, Retransmissions, retry_key};
use crate::telemetry::{CallMetrics, SlowCalls, repeated};
use crate::view::RetryKey;
use crate::waits::Waits;

struct Served {
    program: Arc<dyn Program>,
    metrics: HashMap<u32, Vec<CallMetrics>>,
}

/// The programs that are served at one address.
pub struct Programs {
    served: HashMap<u32, Served>,
    retransmissions: Arc<Retransmissions>,
    slow_calls: Arc<SlowCalls>,
}

/// Puts [`Programs`] together.
pub struct ProgramsBuilder {
    programs: Programs,
}

/// What a record turned out to be.
pub enum Incoming {
    /// A call, ready to be carried out.
    Call(Box<PreparedCall>),
    /// Already answered.
    Reply(Reply),
    /// Not a call: the connection should be closed.
    Unreadable,
}

/// A call whose program and procedure exist.
pub struct PreparedCall {
    program: Arc<dyn Program>,
    metrics: CallMetrics,
    xid: u32,
    remembered: Option<Kind>,
    request: Request,
    results_bytes_max: usize,
}

impl PreparedCall {
    /// An upper bound of the reply with its header, in bytes.
    pub fn reply_bytes_max(&self) -> usize {
        self.results_bytes_max + Reply::HEADER_BYTES_MAX
    }
}

impl ProgramsBuilder {
    /// Serves `program`.
    #[must_use]
    pub fn serve(mut self, program: Arc<dyn Program>) -> Self {
        let metrics = program.versions().iter().map(|&version| (version, metrics_of(&*program, version)));
        let metrics = metrics.collect();
        self.programs.served.insert(program.number(), Served { program, metrics });
        self
    }

    /// Ends the list.
    pub fn build(self) -> Programs {
        self.programs
    }
}

impl Programs {
    /// Serves nothing yet. Repetitions are looked up in `retransmissions`, which may be shared.
    pub fn builder(retransmissions: Arc<Retransmissions>, slow_calls: Arc<SlowCalls>) -> ProgramsBuilder {
        let programs = Self { served: HashMap::new(), retransmissions, slow_calls };
        ProgramsBuilder { programs }
    }

    /// Reads the header of a record.
    pub fn receive(&self, record: Bytes, peer: SocketAddr, transport: Transport) -> Incoming {
        match CallHeader::decode(record) {
            Ok(header) => {
                let xid = header.xid;
                match self.prepare(header, peer, transport) {
                    Ok(call) => Incoming::Call(Box::new(call)),
                    Err(verdict) => Incoming::Reply(Reply { xid, verdict }),
                }
            }
            Err(Refusal::Denied(reply)) => Incoming::Reply(reply),
            Err(Refusal::Unreadable) => Incoming::Unreadable,
        }
    }

    /// Whether a record that begins so, with [`CallHeader::BYTES_MAX`] bytes or all that it has, is a call that may be long:
    /// one that writes data.
    pub fn may_be_long(&self, beginning: Bytes) -> bool {
        let Ok(CallHeader { program, version, procedure, .. }) = CallHeader::decode(beginning) else {
            return false;
        };
        let Some(Served { program, metrics }) = self.served.get(&program) else { return false };
        let procedures = if metrics.contains_key(&version) { program.procedures(version) } else { &[] };
        procedures.get(procedure as usize).is_some_and(|known| known.remembered == Some(Kind::Write))
    }

    /// Carries out a call. Nothing is answered when this call repeats one that is under way and is
    /// itself repeated again.
    pub async fn answer(&self, call: Box<PreparedCall>) -> Option<Reply> {
        let PreparedCall { program, metrics, xid, remembered, mut request, .. } = *call;
        let running = metrics.start();
        let peer = request.peer;
        let started = Instant::now();
        let carried_out = async {
            if let Some(kind) = remembered {
                let client = Client::new(peer);
                let key = retry_key(client, xid, program.number(), &request);
                request.retry = Some(key);
                self.carry_out_once((client, key, kind), &*program, request, &metrics).await
            } else {
                Some(carry_out(&*program, request, &metrics).await.0)
            }
        };
        let (verdict, waits) = Waits::of(carried_out).await;
        let elapsed = started.elapsed();
        running.finish(elapsed);
        self.slow_calls.note(metrics.procedure(), peer.ip(), elapsed, &waits);
        Some(Reply { xid, verdict: verdict? })
    }

    async fn carry_out_once(
        &self,
        (client, key, kind): (Client, RetryKey, Kind),
        program: &dyn Program,
        request: Request,
        metrics: &CallMetrics,
    ) -> Option<Verdict> {
        let execution = match self.retransmissions.begin(client, key) {
            Attempt::First(execution) => execution,
            Attempt::UnderWay(answer) => {
                repeated();
                return answer.await.ok();
            }
            Attempt::Done(body) => {
                repeated();
                return Some(Verdict::Success(body));
            }
        };
        let (verdict, transient) = carry_out(program, request, metrics).await;
        match &verdict {
            Verdict::Success(body) if !transient => execution.finish(kind, body.clone()),
            verdict => execution.pass_on(verdict.clone()),
        }
        Some(verdict)
    }

    fn prepare(
        &self,
        header: CallHeader,
        peer: SocketAddr,
        transport: Transport,
    ) -> Result<PreparedCall, Verdict> {
        let CallHeader { xid, program: number, version, procedure, credential, arguments } = header;
        let Some(Served { program, metrics }) = self.served.get(&number) else {
            return Err(Verdict::ProgramUnavailable);
        };
        let Some(metrics) = metrics.get(&version) else {
            return Err(mismatch(program.versions()));
        };
        let index = procedure as usize;
        let (Some(known), Some(metrics)) = (program.procedures(version).get(index), metrics.get(index))
        else {
            return Err(Verdict::ProcedureUnavailable);
        };
        let request = Request { peer, transport, version, procedure, credential, arguments, retry: None };
        Ok(PreparedCall {
            results_bytes_max: program.results_bytes_max(&request),
            program: Arc::clone(program),
            metrics: metrics.clone(),
            remembered: known.remembered,
            xid,
            request,
        })
    }
}

async fn carry_out(program: &dyn Program, request: Request, metrics: &CallMetrics) -> (Verdict, bool) {
    let Ok(answer) = AssertUnwindSafe(program.call(request)).catch_unwind().await else {
        tracing::error!(
            procedure = metrics.procedure(),
            "a call panicked; its client gets SYSTEM_ERR. This is a defect: please report it with the \
             panic message above"
        );
        metrics.failed("SYSTEM_ERR");
        return (Verdict::SystemError, true);
    };
    match answer {
        Answer::Results { body, failure, transient } => {
            if let Some(status) = failure {
                metrics.failed(status);
            }
            (Verdict::Success(body), transient)
        }
        Answer::GarbageArguments => {
            metrics.failed("GARBAGE_ARGS");
            (Verdict::GarbageArguments, true)
        }
        Answer::ProcedureUnavailable => {
            metrics.failed("PROC_UNAVAIL");
            (Verdict::ProcedureUnavailable, true)
        }
    }
}

fn mismatch(versions: &[u32]) -> Verdict {
    let low = versions.first().copied().unwrap_or_default();
    let high = versions.last().copied().unwrap_or_default();
    Verdict::ProgramMismatch { low, high }
}

fn metrics_of(program: &dyn Program, version: u32) -> Vec<CallMetrics> {
    let procedures = program.procedures(version).iter();
    procedures.map(|procedure| CallMetrics::new(procedure.name)).collect()
}

//! Polls the gateways of a simulation: of those that can go on, one that the seed draws.
//!
//! Everything is on one thread of tokio's current-thread runtime with paused time. Requests on their way are tasks of that
//! runtime, which wakes them by their virtual instants; the gateways are polled here.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::world::World;

/// Something that goes on by itself.
pub(super) type Actor = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Ready {
    actors: BTreeSet<usize>,
    outer: Option<Waker>,
}

struct Bell {
    actor: usize,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock();
        ready.actors.insert(self.actor);
        let outer = ready.outer.take();
        drop(ready);
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

/// Runs all actors to their ends.
pub(super) async fn run(world: &Arc<World>, actors: Vec<Actor>) {
    let ready = Arc::new(Mutex::new(Ready { actors: (0..actors.len()).collect(), outer: None }));
    let bell = |actor| Waker::from(Arc::new(Bell { actor, ready: ready.clone() }));
    let bells: Vec<Waker> = (0..actors.len()).map(bell).collect();
    let mut actors: Vec<Option<Actor>> = actors.into_iter().map(Some).collect();
    poll_fn(|context| {
        loop {
            let next = {
                let mut ready = ready.lock();
                let count = ready.actors.len() as u64;
                if count == 0 {
                    ready.outer = Some(context.waker().clone());
                    None
                } else {
                    let chosen = ready.actors.iter().nth(world.below(count) as usize).copied();
                    chosen.inspect(|actor| {
                        ready.actors.remove(actor);
                    })
                }
            };
            let Some(actor) = next else { break };
            let Some(running) = &mut actors[actor] else { continue };
            if running.as_mut().poll(&mut Context::from_waker(&bells[actor])).is_ready() {
                actors[actor] = None;
            }
        }
        if actors.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

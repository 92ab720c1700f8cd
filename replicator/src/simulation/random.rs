//! A random run: gateways that do this and that, die and come back, on a network of which the seed makes the weather; then
//! calm, and everything that must hold.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;

use super::gateway::{Gateway, Machine, Settings};
use super::operations::Collecting;
use super::promote::{Step, set_lead};
use super::schedule::{self, Actor};
use super::site::Site;
use super::trouble::{Outcome, Trouble};
use super::verify;
use super::world::{Weather, World};

/// Different blocks that files are made of: few, so that what was thrown away comes again.
const BLOCKS: u64 = 24;
/// Names of files in a share.
const NAMES: u64 = 6;
/// Virtual time of the weather.
const STORM: Duration = Duration::from_mins(1);
/// Passes, commits and collections with which everything comes to rest.
const REST_ROUNDS: usize = 4;

/// What one run came to.
pub(super) struct Finished {
    /// Of all events.
    pub(super) digest: u64,
    pub(super) events: u64,
    pub(super) violations: Vec<String>,
    /// The last events.
    pub(super) tail: String,
}

/// Two sites, of which the first leads, and machines.
pub(super) struct Scene {
    pub(super) world: Arc<World>,
    pub(super) sites: Vec<Arc<Site>>,
    pub(super) machines: Vec<Arc<Machine>>,
}

pub(super) fn share(number: u8) -> ShareId {
    ShareId::new([number; 16])
}

impl Scene {
    /// A repository, and machines that know nothing yet.
    pub(super) async fn new(seed: u64, machines: usize, create_new: [bool; 2], retries: bool) -> Self {
        let world = Arc::new(World::new(seed, machines, Weather::CALM));
        let sites: Vec<Arc<Site>> = [(0, "home"), (1, "away")]
            .into_iter()
            .zip(create_new)
            .map(|((number, name), create_new)| Arc::new(Site::new(number, name, create_new)))
            .collect();
        let line = super::line::Line::new(world.clone(), sites[0].clone(), 0);
        super::init(line).await;
        let settings = Settings { lead: 0, copies: vec![1], required: 1, retries };
        let machine = |who| Machine::new(&world, &sites, who, settings.clone());
        let machines = (0..machines).map(machine).collect();
        Self { world, sites, machines }
    }

    pub(super) async fn start(&self, who: usize) -> Arc<Gateway> {
        Gateway::start(&self.machines[who]).await.unwrap_or_else(|trouble| panic!("{trouble:?}"))
    }

    /// Both sites hold whole repositories, and the lines of heads are what they should be.
    pub(super) async fn is_sound(&self) {
        for site in &self.sites {
            verify::is_whole(&self.world, site, "in the end").await;
            verify::is_clean(&self.world, site).await;
        }
        verify::lines_go_on(&self.world, &self.sites).await;
    }

    /// Fails with what was broken.
    pub(super) fn nothing_is_broken(&self) {
        let broken = self.world.violations();
        assert!(broken.is_empty(), "{}\n{broken:#?}", self.world.tail());
    }
}

/// Runs a seed.
pub(super) async fn run(seed: u64) -> Finished {
    let mut numbers = super::chance::Numbers::seeded(seed ^ 0x5eed);
    let machines = 2 + numbers.below(2) as usize;
    let create_new = [numbers.below(3) > 0, numbers.below(3) > 0];
    let scene = Scene::new(seed, machines, create_new, numbers.below(2) == 0).await;
    for (who, machine) in scene.machines.iter().enumerate() {
        let gateway = scene.start(who).await;
        gateway.create(share(who as u8 + 1)).await.unwrap_or_else(|trouble| panic!("{trouble:?}"));
        machine.settings.lock().required = 1 + numbers.below(2) as usize;
    }
    if numbers.below(4) > 0 {
        scene.world.want_lead(0);
    }
    scene.world.set_weather(weather(&mut numbers));
    let end = scene.world.elapsed() + STORM;
    let actors = scene.machines.iter().map(|machine| -> Actor { Box::pin(live(machine.clone(), end)) });
    let mut actors: Vec<Actor> = actors.collect();
    actors.push(Box::pin(trouble_the_network(scene.world.clone(), machines, end)));
    schedule::run(&scene.world, actors).await;
    scene.world.set_weather(Weather::CALM);
    for site in &scene.sites {
        verify::is_whole(&scene.world, site, "after the storm").await;
    }
    // What is late has come.
    tokio::time::sleep(Duration::from_mins(2)).await;
    come_to_rest(&scene).await;
    scene.is_sound().await;
    let (digest, events) = scene.world.digest();
    Finished { digest, events, violations: scene.world.violations(), tail: scene.world.tail() }
}

fn weather(numbers: &mut super::chance::Numbers) -> Weather {
    let mut up_to = |most: u64| if numbers.below(3) == 0 { 0 } else { numbers.below(most) };
    Weather {
        refused: up_to(60),
        reply_lost: up_to(60),
        late: up_to(40),
        late_ms_max: up_to(4_000),
        paused: up_to(4),
        latency_ms_max: 5 + up_to(150),
        listings_take_time: up_to(2) == 0,
    }
}

/// Cuts and mends ways.
async fn trouble_the_network(world: Arc<World>, machines: usize, end: Duration) {
    while world.elapsed() < end {
        tokio::time::sleep(world.milliseconds(20_000)).await;
        let (who, site) = (world.below(machines as u64) as usize, world.below(2) as usize);
        world.cut(who, site, true);
        tokio::time::sleep(world.milliseconds(10_000)).await;
        world.cut(who, site, false);
    }
}

/// A machine: processes that die and are started again.
async fn live(machine: Arc<Machine>, end: Duration) {
    let world = machine.world.clone();
    while world.elapsed() < end {
        let left = end.saturating_sub(world.elapsed());
        let life = world.milliseconds(60_000).min(left);
        let _ = tokio::time::timeout(life, one_life(&machine)).await;
        world.event(&format!("{} dies", machine.who));
        tokio::time::sleep(world.milliseconds(2_000)).await;
    }
}

async fn one_life(machine: &Arc<Machine>) {
    let gateway = loop {
        let before = machine.settings.lock().clone();
        if let Some(lead) = machine.world.wanted_lead() {
            set_lead(machine, lead);
        }
        match Gateway::start(machine).await {
            Ok(gateway) => break gateway,
            Err(trouble) => note(&machine.world, machine.who, "start", &trouble),
        }
        // What cannot be promoted yet has to catch up.
        if machine.world.one_in(2) && *machine.lead.lock() == Some(before.lead) {
            *machine.settings.lock() = before;
            if let Ok(gateway) = Gateway::start(machine).await {
                break gateway;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    futures::join!(publish_and_so_on(&gateway), copy(&gateway), keep_house(&gateway));
}

/// Trouble is part of the game; damage is not.
fn note(world: &World, who: usize, what: &str, trouble: &Trouble) {
    world.event(&format!("{who}: {what}: {}", trouble.text));
    // What one collection walks another may have taken away, with the head that reached it.
    let is_overtaken = what == "collect" && trouble.text.contains("no target holds it");
    if trouble.is_damage() && !is_overtaken {
        world.violation(format!("{who}: {what}: {}", trouble.text));
    }
}

/// What clients and operators do to shares.
async fn publish_and_so_on(gateway: &Arc<Gateway>) {
    let world = gateway.world.clone();
    loop {
        tokio::time::sleep(world.milliseconds(1_500)).await;
        for share in gateway.led() {
            for _ in 0..world.below(3) {
                write(gateway, share);
            }
        }
        let led = gateway.led();
        let chosen = led.get(world.below(led.len().max(1) as u64) as usize).copied();
        let (what, done) = match (world.below(20), chosen) {
            (0, _) => ("take over", take_over(gateway).await),
            (1, _) if world.one_in(2) => {
                let to = 1 - gateway.leading_site();
                let promoted = gateway.promote(to, world.one_in(3), Step::Never).await;
                if promoted.is_ok() && world.wanted_lead().is_some() {
                    world.want_lead(to);
                }
                ("promote", promoted)
            }
            (2, Some(share)) => ("snapshot", gateway.take_snapshot(share).await.map(drop)),
            (3, Some(share)) => ("remove a snapshot", gateway.remove_snapshot(share).await),
            (4, Some(share)) => ("roll back", gateway.roll_back(share).await),
            (_, Some(share)) => ("commit", gateway.commit(share).await.map(drop)),
            (_, None) => ("take over", take_over(gateway).await),
        };
        if let Err(trouble) = done {
            note(&world, gateway.who(), what, &trouble);
        }
    }
}

async fn take_over(gateway: &Gateway) -> Outcome<()> {
    if gateway.world.wanted_lead().is_some_and(|lead| lead != gateway.leading_site()) {
        return Ok(());
    }
    gateway.take_over(share(1 + gateway.world.below(3) as u8)).await
}

fn write(gateway: &Gateway, share: ShareId) {
    let world = &gateway.world;
    let name = format!("file {}", world.below(NAMES));
    let blocks: Vec<u64> = (0..world.below(4)).map(|_| world.below(BLOCKS)).collect();
    let removes = world.one_in(4);
    gateway.edit(share, |live| if removes { live.remove(&name) } else { live.write(&name, blocks) });
}

async fn copy(gateway: &Arc<Gateway>) {
    let world = gateway.world.clone();
    loop {
        tokio::time::sleep(world.milliseconds(6_000)).await;
        let copy = 1 - gateway.leading_site();
        if let Err(trouble) = gateway.pass_over(copy).await {
            note(&world, gateway.who(), "copy", &trouble);
        }
    }
}

async fn keep_house(gateway: &Arc<Gateway>) {
    let world = gateway.world.clone();
    loop {
        tokio::time::sleep(world.milliseconds(8_000)).await;
        let how = Collecting {
            grace: if world.one_in(3) { Duration::from_secs(5) } else { Duration::ZERO },
            repack: world.one_in(2),
            reseal: world.one_in(4),
        };
        let (what, done): (_, Outcome<()>) = match world.below(10) {
            0 => ("scrub", gateway.scrub().await.map(drop)),
            1 => {
                let domain = gateway.repository.default_domain();
                ("new keys", gateway.repository.rotate_domain(domain).await.map(drop).map_err(Trouble::from))
            }
            2 => {
                let required = gateway.machine.settings.lock().required;
                ("evict", gateway.ledger.evict(required).map(drop))
            }
            _ => ("collect", gateway.collect(how).await),
        };
        if let Err(trouble) = done {
            note(&world, gateway.who(), what, &trouble);
        }
    }
}

/// Everybody starts again, in calm: what was begun is finished, and all sites come to hold the same.
async fn come_to_rest(scene: &Scene) {
    let world = &scene.world;
    // One site leads from now on: that on which most is led.
    let on_second = scene.machines.iter().filter(|machine| *machine.lead.lock() == Some(1)).count();
    let lead = usize::from(on_second > 0);
    for machine in &scene.machines {
        // As it was, whatever its operator wants.
        let led_from = *machine.lead.lock();
        set_lead(machine, led_from.unwrap_or(0));
        let started = Gateway::start(machine).await;
        let gateway = match started {
            Ok(gateway) => gateway,
            Err(trouble) => {
                world.violation(format!("{} does not start in calm: {}", machine.who, trouble.text));
                continue;
            }
        };
        for share in gateway.led() {
            write(&gateway, share);
            rest(world, machine.who, "commit", gateway.commit(share).await.map(drop));
        }
        for _ in 0..REST_ROUNDS {
            rest(world, machine.who, "copy", gateway.pass_over(1 - gateway.leading_site()).await.map(drop));
        }
    }
    world.event(&format!("site {lead} leads for everybody"));
    for _ in 0..REST_ROUNDS {
        for machine in &scene.machines {
            set_lead(machine, lead);
            let gateway = match Gateway::start(machine).await {
                Ok(gateway) => gateway,
                Err(trouble) => {
                    world.event(&format!("{} does not start: {}", machine.who, trouble.text));
                    let led_from = *machine.lead.lock();
                    set_lead(machine, led_from.unwrap_or(0));
                    continue;
                }
            };
            for share in gateway.led() {
                rest(world, machine.who, "commit", gateway.commit(share).await.map(drop));
            }
            let how = Collecting { repack: true, ..Collecting::default() };
            rest(world, machine.who, "collect", gateway.collect(how).await);
            rest(world, machine.who, "copy", gateway.pass_over(1 - gateway.leading_site()).await.map(drop));
        }
    }
}

/// In calm nothing fails but by somebody else's leading.
fn rest(world: &World, who: usize, what: &str, done: Outcome<()>) {
    match done {
        Err(trouble) if trouble.superseded => world.event(&format!("{who}: {what}: {}", trouble.text)),
        Err(trouble) => world.violation(format!("{who}: {what}, in calm: {}", trouble.text)),
        Ok(()) => {}
    }
}

//! Named sequences: what was once found dangerous in copies and promotion, step by step, each ended by everything that must
//! hold.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;

use super::gateway::{Gateway, Machine};
use super::operations::Collecting;
use super::promote::{Step, set_lead};
use super::random::{Scene, share};
use super::verify;
use super::world::Weather;
use crate::collect::{Progress, Silent, carry_out, condemn, propose, tidy};
use crate::repository::{HeadName, Repository};

/// Does a sequence in calm, with one machine or more, and looks at the end.
pub(super) fn sequence<F>(machines: usize, create_new: bool, steps: impl FnOnce(Arc<Scene>) -> F) -> F::Output
where
    F: Future,
{
    super::simulate(7, async {
        let scene = Arc::new(Scene::new(7, machines, [create_new; 2], false).await);
        let outcome = steps(scene.clone()).await;
        // What is late has come.
        tokio::time::sleep(Duration::from_mins(5)).await;
        scene.is_sound().await;
        scene.nothing_is_broken();
        outcome
    })
}

pub(super) const SHARE: ShareId = ShareId::new([1; 16]);

/// Writes a file and commits.
pub(super) async fn write(gateway: &Gateway, name: &str, blocks: &[u64]) -> HeadName {
    gateway.edit(SHARE, |live| live.write(name, blocks.to_vec()));
    gateway.commit(SHARE).await.unwrap().0
}

/// A gateway that leads a share with something in it, and a copy that has it.
pub(super) async fn copied(scene: &Scene) -> Arc<Gateway> {
    let gateway = scene.start(0).await;
    gateway.create(SHARE).await.unwrap();
    write(&gateway, "first", &[1, 2, 3]).await;
    pass(&gateway, 1).await;
    gateway
}

/// A pass that leaves nothing out.
pub(super) async fn pass(gateway: &Gateway, copy: usize) {
    let report = gateway.pass_over(copy).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
}

/// Has another site lead for a machine, which is started anew.
async fn start_with_lead(machine: &Arc<Machine>, lead: usize) -> Result<Arc<Gateway>, String> {
    set_lead(machine, lead);
    Gateway::start(machine).await.map_err(|trouble| trouble.text)
}

/// The newest head on a site.
pub(super) async fn newest(scene: &Scene, site: usize) -> Option<HeadName> {
    let store = Arc::new(scene.sites[site].as_it_is().await);
    let repository = Repository::open(store, &super::key()).await.unwrap();
    repository.newest_head_name(SHARE).await.unwrap()
}

#[test]
fn promotion_while_the_old_lead_publishes() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        // Edits and commits go on through the promotion; a commit that comes too late goes to the new lead.
        let beside = async {
            for number in 0..12_u64 {
                gateway.edit(SHARE, |live| live.write(&format!("beside {number}"), vec![number]));
                let _ = gateway.commit(SHARE).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let (promoted, ()) = futures::join!(gateway.promote(1, false, Step::Never), beside);
        promoted.unwrap();
        let last = write(&gateway, "last", &[9]).await;
        assert_eq!(last.epoch, 256);
        assert_eq!(newest(&scene, 1).await, Some(last));
        pass(&gateway, 0).await;
        assert_eq!(newest(&scene, 0).await, Some(last));
    });
}

#[test]
fn a_promotion_that_dies_after_any_step_is_gone_on_with_or_never_was() {
    for dies_after in Step::ALL {
        for lead_is_lost in [false, true] {
            for goes_on in [false, true] {
                sequence(1, true, |scene| async move {
                    let gateway = copied(&scene).await;
                    write(&gateway, "second", &[4, 5]).await;
                    pass(&gateway, 1).await;
                    gateway.edit(SHARE, |live| live.write("unpublished", vec![6]));
                    let died = gateway.promote(1, lead_is_lost, dies_after).await.is_err();
                    assert_eq!(died, dies_after != Step::Never);
                    drop(gateway);
                    let machine = &scene.machines[0];
                    let was_noted = *machine.lead.lock() == Some(1);
                    assert_eq!(was_noted, dies_after >= Step::Note, "{dies_after:?}");
                    // The operator goes on with it, or leaves it at that; once it is noted it is done.
                    let lead = usize::from(goes_on || was_noted);
                    let gateway = start_with_lead(machine, lead).await.unwrap();
                    let last = write(&gateway, "last", &[7]).await;
                    assert_eq!(newest(&scene, lead).await, Some(last), "{dies_after:?}");
                    let after = gateway.pass_over(1 - lead).await.unwrap();
                    let claimed_in_vain = dies_after == Step::Claim && lead == 0;
                    assert_eq!(after.is_whole(), !claimed_in_vain, "{dies_after:?}: {after:?}");
                });
            }
        }
    }
}

#[test]
fn a_copy_that_lacks_what_was_published_is_not_promoted() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        let last = write(&gateway, "only on the lead", &[4]).await;
        let refused = gateway.promote(1, true, Step::Never).await.unwrap_err();
        assert!(refused.text.contains("lacks the newest head"), "{refused:?}");
        drop(gateway);
        let refused = start_with_lead(&scene.machines[0], 1).await.err().unwrap();
        assert!(refused.contains("lacks the newest head"), "{refused}");
        // Nothing was changed: the lead goes on.
        let gateway = start_with_lead(&scene.machines[0], 0).await.unwrap();
        let next = write(&gateway, "more", &[5]).await;
        assert!(next.is_newer_than(&last) && next.epoch == 1);
        pass(&gateway, 1).await;
    });
}

#[test]
fn a_pack_that_only_the_lead_has_keeps_a_copy_from_being_promoted() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        // Somebody else stores a block, which counts as a duplicate here.
        let other = scene.start(1).await;
        other.create(share(2)).await.unwrap();
        other.edit(share(2), |live| live.write("theirs", vec![20]));
        other.commit(share(2)).await.unwrap();
        drop(gateway);
        // Its ledger has learned of it: a life that reads the index anew.
        let machine = &scene.machines[0];
        let gateway = Gateway::start(machine).await.unwrap();
        let mut reader = gateway.repository.index_reader();
        while let Some((_, object)) = reader.next().await.unwrap() {
            gateway.ledger.learn_remote(object.entries().map(|entry| (entry.chunk, entry.location)));
        }
        let refused = gateway.promote(1, true, Step::Never).await.unwrap_err();
        assert!(refused.text.contains("only on the lead"), "{refused:?}");
        // Not lost, it gives the copy everything first.
        gateway.promote(1, false, Step::Never).await.unwrap();
        write(&gateway, "the same", &[20]).await;
    });
}

/// Makes garbage, and collects until it is gone.
pub(super) async fn collect_all(gateway: &Gateway) {
    for _ in 0..5 {
        write(gateway, "changing", &[gateway.world.below(1000) + 100]).await;
    }
    for _ in 0..4 {
        gateway.collect(Collecting { repack: true, ..Collecting::default() }).await.unwrap();
        gateway.edit(SHARE, |live| live.remove("changing"));
        gateway.commit(SHARE).await.unwrap();
    }
}

#[test]
fn what_is_in_the_bin_outlives_collections_and_is_on_the_copy_which_brings_it_back() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        let (_, id) = gateway.take_snapshot(SHARE).await.unwrap().unwrap();
        pass(&gateway, 1).await;
        let inside = gateway.bin(SHARE, id).await.unwrap().unwrap();
        gateway.edit(SHARE, |live| live.remove("first"));
        collect_all(&gateway).await;
        gateway.pass_over(1).await.unwrap();
        for site in &scene.sites {
            assert!(site.has(&inside.object(SHARE)) && !site.has(&id.object(SHARE)));
            verify::is_whole(&scene.world, site, "in the bin").await;
        }
        // Whoever leads from the copy brings it back there.
        gateway.promote(1, false, Step::Never).await.unwrap();
        let back = gateway.unbin(SHARE, inside).await.unwrap().unwrap();
        collect_all(&gateway).await;
        gateway.pass_over(0).await.unwrap();
        // The other one keeps what is not much older than the promotion, as it does with every snapshot.
        assert!(!scene.sites[1].has(&inside.object(SHARE)));
        for site in &scene.sites {
            assert!(site.has(&back.object(SHARE)));
            verify::is_whole(&scene.world, site, "back again").await;
        }
    });
}

#[test]
fn a_copy_that_was_away_while_the_lead_collected_catches_up() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        scene.world.cut(0, 1, true);
        let before = scene.sites[1].names("packs/").len();
        collect_all(&gateway).await;
        gateway.pass_over(1).await.unwrap_err();
        scene.world.cut(0, 1, false);
        super::verify::is_whole(&scene.world, &scene.sites[1], "before it catches up").await;
        // Packs go one pass after the heads that reached them.
        pass(&gateway, 1).await;
        pass(&gateway, 1).await;
        let (lead, copy) = (scene.sites[0].names("packs/"), scene.sites[1].names("packs/"));
        assert_eq!(lead, copy, "{before} packs before");
    });
}

#[test]
fn a_head_on_the_copy_whose_packs_the_lead_has_condemned_keeps_them_until_it_goes() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        // The copy keeps an old head, which the lead passes while the copy cannot be reached.
        let old = newest(&scene, 1).await.unwrap();
        scene.world.cut(0, 1, true);
        gateway.edit(SHARE, |live| live.remove("first"));
        for number in 0..5 {
            write(&gateway, "second", &[10 + number]).await;
        }
        for _ in 0..3 {
            gateway.collect(Collecting::default()).await.unwrap();
            gateway.commit(SHARE).await.unwrap();
        }
        scene.world.cut(0, 1, false);
        assert!(!scene.sites[0].has(&old.object(SHARE)));
        // A pass that dies anywhere leaves the old head whole, or gone.
        let mut calls = 1;
        loop {
            let passing = tokio::time::timeout(Duration::from_millis(calls * 4), gateway.pass_over(1)).await;
            super::verify::is_whole(&scene.world, &scene.sites[1], "a pass that died").await;
            if passing.is_ok_and(|report| report.unwrap().is_whole()) {
                break;
            }
            calls += 1;
        }
        pass(&gateway, 1).await;
        assert!(!scene.sites[1].has(&old.object(SHARE)));
    });
}

#[test]
fn a_target_that_is_removed_while_it_is_owed_something_is_owed_it_again() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        let machine = scene.machines[0].clone();
        scene.world.cut(0, 1, true);
        write(&gateway, "owed", &[4, 5]).await;
        assert!(!gateway.ledger.owed(1).is_empty());
        drop(gateway);
        machine.settings.lock().copies.clear();
        let gateway = Gateway::start(&machine).await.unwrap();
        write(&gateway, "meanwhile", &[6]).await;
        // Nothing waits for it, so everything may be evicted.
        for _ in 0..8 {
            gateway.ledger.evict(1).unwrap();
        }
        drop(gateway);
        scene.world.cut(0, 1, false);
        machine.settings.lock().copies.push(1);
        let gateway = Gateway::start(&machine).await.unwrap();
        let refused = gateway.promote(1, true, Step::Never).await.unwrap_err();
        assert!(refused.text.contains("refused"), "{refused:?}");
        pass(&gateway, 1).await;
        gateway.promote(1, true, Step::Never).await.unwrap();
        write(&gateway, "last", &[7]).await;
    });
}

#[test]
fn of_two_gateways_that_claim_at_once_at_most_one_leads_without_conditional_writes() {
    for seed in 0..20 {
        super::simulate(seed, async {
            let scene = Scene::new(seed, 3, [false; 2], false).await;
            let first = scene.start(0).await;
            first.create(SHARE).await.unwrap();
            write(&first, "first", &[1]).await;
            scene.world.set_weather(Weather {
                latency_ms_max: 200,
                listings_take_time: true,
                ..Weather::CALM
            });
            let (one, other) = (scene.start(1).await, scene.start(2).await);
            let _ = futures::join!(one.take_over(SHARE), other.take_over(SHARE));
            let leaders = [&one, &other].into_iter().filter(|gateway| !gateway.led().is_empty()).count();
            assert!(leaders <= 1, "seed {seed}");
            for gateway in [&one, &other] {
                if !gateway.led().is_empty() {
                    write(gateway, "taken over", &[2]).await;
                }
            }
            first.edit(SHARE, |live| live.write("too late", vec![3]));
            assert!(first.commit(SHARE).await.is_err_and(|trouble| trouble.superseded), "seed {seed}");
            scene.is_sound().await;
            scene.nothing_is_broken();
        });
    }
}

#[test]
fn a_publisher_that_wakes_after_the_promotion_makes_a_fork_that_stays() {
    for stands_still_after_ms in 0..40 {
        sequence(2, true, |scene| async move {
            let gateway = copied(&scene).await;
            gateway.edit(SHARE, |live| live.write("late", vec![4]));
            // It falls asleep somewhere in the commit.
            let publishing = gateway.commit(SHARE);
            let falls_asleep = async {
                tokio::time::sleep(Duration::from_millis(stands_still_after_ms)).await;
                scene.world.pause(0, Duration::from_mins(2));
            };
            let elsewhere = async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                // The copy is served by another machine, that knows nothing of the lead.
                set_lead(&scene.machines[1], 1);
                let other = scene.start(1).await;
                other.take_over(SHARE).await.unwrap();
                write(&other, "elsewhere", &[5]).await;
                other
            };
            let (published, (), other) = futures::join!(publishing, falls_asleep, elsewhere);
            // Whatever it could still publish is on the site that led, and is overwritten by nobody.
            let on_lead = newest(&scene, 0).await.unwrap();
            gateway.pass_over(1).await.unwrap();
            assert_eq!(gateway.led(), [], "it has seen who leads now: {published:?}");
            let last = write(&other, "last", &[6]).await;
            assert_eq!(newest(&scene, 1).await, Some(last));
            assert!(scene.sites[0].has(&on_lead.object(SHARE)));
        });
    }
}

#[test]
fn what_is_planned_on_a_copy_deletes_nothing_that_the_lead_has_not_honoured() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        for number in 0..5 {
            write(&gateway, "changing", &[10 + number]).await;
        }
        pass(&gateway, 1).await;
        // Somebody collects there, with settings that take the copy for the lead.
        let copy = Arc::new(gateway.repository.on(gateway.lines[1].clone()));
        let options = gateway.collecting(Collecting::default());
        let proposal = propose(&copy, &options, &Silent).await.unwrap();
        tidy(&copy, &proposal).await.unwrap();
        let proposal = propose(&copy, &options, &Silent).await.unwrap();
        let plan = condemn(&copy, proposal, &options, &Silent).await.unwrap().unwrap();
        for _ in 0..3 {
            let progress = carry_out(&copy, plan, &options, &Silent).await.unwrap();
            assert!(matches!(progress, Progress::Waiting(_)), "{progress:?}");
            // What it condemned comes again on the lead, and goes to the copy.
            write(&gateway, "again", &[10, 11, 12]).await;
            gateway.pass_over(1).await.unwrap();
            super::verify::is_whole(&scene.world, &scene.sites[1], "with a plan of the copy").await;
        }
        // And when that copy is promoted, its plan is honoured like any other.
        gateway.promote(1, false, Step::Never).await.unwrap();
        write(&gateway, "after", &[10, 13]).await;
        for _ in 0..3 {
            gateway.collect(Collecting::default()).await.unwrap();
            gateway.edit(SHARE, |live| live.remove("changing"));
            gateway.commit(SHARE).await.unwrap();
        }
        gateway.pass_over(0).await.unwrap();
    });
}

#[test]
fn what_is_spoiled_is_put_back_by_a_scrub_from_the_local_pack() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        for (at, pack) in scene.sites[0].names("packs/").iter().enumerate() {
            scene.sites[0].spoil(pack, 60 + at * 7);
        }
        assert!(gateway.scrub().await.unwrap() > 0);
        assert_eq!(gateway.scrub().await.unwrap(), 0);
        write(&gateway, "after", &[1, 2, 8]).await;
        pass(&gateway, 1).await;
    });
}

//! Named sequences that random runs found, each the shortest that shows what was wrong.

use std::time::Duration;

use super::operations::Collecting;
use super::promote::{Step, set_lead};
use super::random::share;
use super::sequences::{SHARE, collect_all, copied, newest, pass, sequence, write};
use super::verify;

#[test]
fn new_keys_reach_a_copy_although_a_share_is_led_from_it() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        gateway.create(share(2)).await.unwrap();
        gateway.edit(share(2), |live| live.write("other", vec![11]));
        gateway.commit(share(2)).await.unwrap();
        pass(&gateway, 1).await;
        // Somebody serves one of the shares from the copy.
        set_lead(&scene.machines[1], 1);
        let other = scene.start(1).await;
        other.take_over(share(2)).await.unwrap();
        other.edit(share(2), |live| live.write("other", vec![12]));
        other.commit(share(2)).await.unwrap();
        let domain = gateway.repository.default_domain();
        gateway.repository.rotate_domain(domain).await.unwrap();
        let last = write(&gateway, "under new keys", &[5]).await;
        gateway.pass_over(1).await.unwrap();
        assert_eq!(newest(&scene, 1).await, Some(last));
        verify::is_whole(&scene.world, &scene.sites[1], "with new keys").await;
        // Keys that only the copy has are used for nothing on the lead.
        other.repository.rotate_domain(domain).await.unwrap();
        other.edit(share(2), |live| live.write("other", vec![13]));
        other.commit(share(2)).await.unwrap();
        gateway.pass_over(1).await.unwrap();
        write(&gateway, "last", &[6]).await;
        verify::is_whole(&scene.world, &scene.sites[0], "with keys of the copy").await;
    });
}

#[test]
fn a_copy_without_the_keys_in_use_is_given_them_when_it_begins_to_lead() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        let domain = gateway.repository.default_domain();
        gateway.repository.rotate_domain(domain).await.unwrap();
        gateway.promote(1, true, Step::Never).await.unwrap();
        write(&gateway, "last", &[4]).await;
        verify::is_whole(&scene.world, &scene.sites[1], "under the new keys").await;
    });
}

#[test]
fn keys_made_on_the_old_lead_while_a_copy_begins_to_lead_are_given_to_it() {
    for after_ms in (0..1_000).step_by(20) {
        sequence(1, true, |scene| async move {
            let gateway = copied(&scene).await;
            let rotates = async {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                gateway.repository.rotate_domain(gateway.repository.default_domain()).await.unwrap();
            };
            let (promoted, ()) = futures::join!(gateway.promote(1, false, Step::Never), rotates);
            promoted.unwrap();
            write(&gateway, "last", &[4]).await;
            verify::is_whole(&scene.world, &scene.sites[1], "under the new keys").await;
        });
    }
}

#[test]
fn a_scrub_learns_of_keys_that_another_gateway_has_made() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        let other = scene.start(1).await;
        other.create(share(2)).await.unwrap();
        other.repository.rotate_domain(other.repository.default_domain()).await.unwrap();
        other.edit(share(2), |live| live.write("theirs", vec![20]));
        other.commit(share(2)).await.unwrap();
        assert_eq!(gateway.scrub().await.unwrap(), 0);
    });
}

#[test]
fn a_snapshot_just_taken_is_not_removed_by_a_mirror_that_runs_the_other_way() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        let other = scene.start(1).await;
        other.create(share(2)).await.unwrap();
        other.edit(share(2), |live| live.write("theirs", vec![20]));
        other.commit(share(2)).await.unwrap();
        // From now on each site follows the other.
        other.promote(1, false, Step::Never).await.unwrap();
        gateway.pass_over(1).await.unwrap();
        let (_, snapshot) = gateway.take_snapshot(SHARE).await.unwrap().unwrap();
        other.pass_over(0).await.unwrap();
        assert!(scene.sites[0].has(&snapshot.object(SHARE)));
        gateway.pass_over(1).await.unwrap();
        assert!(scene.sites[1].has(&snapshot.object(SHARE)));
    });
}

#[test]
fn what_was_published_before_a_copy_was_attached_by_itself_stays_a_fork() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        let fork = write(&gateway, "only at home", &[4]).await;
        set_lead(&scene.machines[1], 1);
        let other = scene.start(1).await;
        other.take_over(SHARE).await.unwrap();
        write(&other, "elsewhere", &[5]).await;
        let last = write(&other, "elsewhere", &[6]).await;
        // The site that led becomes a copy.
        other.pass_over(0).await.unwrap();
        assert!(scene.sites[0].has(&fork.object(SHARE)), "nobody has removed it");
        assert_eq!(newest(&scene, 0).await, Some(last));
    });
}

#[test]
fn a_claim_on_a_copy_is_not_written_over_by_a_mirror() {
    for after_ms in 0..50 {
        sequence(3, true, |scene| async move {
            let first = copied(&scene).await;
            let second = scene.start(2).await;
            second.take_over(SHARE).await.unwrap();
            write(&second, "second", &[4]).await;
            drop(first);
            // While that claim is on its way to the copy, somebody makes one there.
            set_lead(&scene.machines[1], 1);
            let other = scene.start(1).await;
            let attaches = async {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                other.take_over(SHARE).await
            };
            let (_, attached) = futures::join!(second.pass_over(1), attaches);
            if attached.is_ok() {
                write(&other, "elsewhere", &[5]).await;
            }
            second.pass_over(1).await.unwrap();
        });
    }
}

#[test]
fn what_comes_back_to_the_lead_from_a_copy_keeps_its_packs_there() {
    sequence(2, true, |scene| async move {
        let gateway = copied(&scene).await;
        gateway.take_snapshot(SHARE).await.unwrap().unwrap();
        pass(&gateway, 1).await;
        // A process that has never seen the snapshot removes it, and what it reached is collected.
        drop(gateway);
        let gateway = scene.start(0).await;
        gateway.remove_snapshot(SHARE).await.unwrap();
        gateway.edit(SHARE, |live| live.remove("first"));
        collect_all(&gateway).await;
        gateway.pass_over(1).await.unwrap();
        // Another gateway leads from the copy, which still has it, and brings it back.
        let other = scene.start(1).await;
        other.create(share(2)).await.unwrap();
        other.edit(share(2), |live| live.write("theirs", vec![20]));
        other.commit(share(2)).await.unwrap();
        other.promote(1, false, Step::Never).await.unwrap();
        other.pass_over(0).await.unwrap();
        for _ in 0..2 {
            gateway.pass_over(1).await.unwrap();
            verify::is_whole(&scene.world, &scene.sites[1], "after a pass").await;
        }
    });
}

#[test]
fn a_share_that_somebody_else_has_taken_over_is_not_promoted() {
    for after_ms in (0..200).step_by(20) {
        sequence(2, true, move |scene| async move {
            let gateway = copied(&scene).await;
            let other = scene.start(1).await;
            other.take_over(SHARE).await.unwrap();
            other.edit(SHARE, |live| live.write("theirs", vec![5]));
            // The first has nothing to publish, and so does not notice; the other's head may come after its last pass.
            let publishes = async {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                other.commit(SHARE).await.unwrap();
            };
            let (promoted, ()) = futures::join!(gateway.promote(1, false, Step::Never), publishes);
            promoted.unwrap_err();
        });
    }
}

#[test]
fn who_died_after_new_keys_is_not_started_on_a_copy_without_them_and_goes_on_at_home() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        gateway.repository.rotate_domain(gateway.repository.default_domain()).await.unwrap();
        let last = write(&gateway, "under new keys", &[4]).await;
        // What was noted of its packs since is lost with it; the files are there.
        drop(gateway);
        set_lead(&scene.machines[0], 1);
        let refused = super::gateway::Gateway::start(&scene.machines[0]).await.err().expect("it is refused");
        assert!(refused.text.contains("lacks the keys"), "{refused:?}");
        set_lead(&scene.machines[0], 0);
        let gateway = scene.start(0).await;
        assert_eq!(newest(&scene, 0).await, Some(last));
        pass(&gateway, 1).await;
        gateway.promote(1, false, Step::Never).await.unwrap();
    });
}

#[test]
fn what_the_index_lacks_of_packs_in_use_it_learns_by_a_collection() {
    sequence(1, true, |scene| async move {
        let gateway = copied(&scene).await;
        let site = &scene.sites[0];
        for name in site.names("index/") {
            site.delete(&name);
        }
        verify::is_clean(&scene.world, site).await;
        assert!(!scene.world.take_violations().is_empty(), "a check tells of what the index lacks");
        gateway.collect(Collecting::default()).await.unwrap();
        verify::is_clean(&scene.world, site).await;
    });
}

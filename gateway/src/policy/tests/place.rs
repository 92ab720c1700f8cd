//! Claims about the place of a run among all sources.

use futures::FutureExt;

use super::*;

fn two() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(2))
}

#[test]
fn a_run_waits_until_there_is_a_place() {
    let all = two();
    let one = Place::wait(&all, 1).now_or_never().expect("both are free");
    let _other = Place::wait(&all, 1).now_or_never().expect("one is free");
    assert!(Place::wait(&all, 1).now_or_never().is_none(), "none is free");
    drop(one);
    assert!(Place::wait(&all, 1).now_or_never().is_some());
}

#[test]
fn sources_of_a_run_are_read_in_its_own_place_while_others_have_the_rest() {
    let all = two();
    let _others = all.clone().try_acquire_owned().expect("both are free");
    let place = Place::wait(&all, 3).now_or_never().expect("one is free");
    for _ in 0..3 {
        let turn = place.turn().now_or_never().expect("the place is the run's");
        assert!(place.turn().now_or_never().is_none(), "one after the other");
        assert_eq!(all.available_permits(), 0);
        drop(turn);
    }
    assert_eq!(all.available_permits(), 1, "nothing of the run is left to be read");
}

#[test]
fn sources_of_a_run_are_read_in_free_places_too_and_each_is_given_back_in_time() {
    for own_first in [true, false] {
        let all = two();
        let place = Place::wait(&all, 2).now_or_never().expect("both are free");
        let own = place.turn().now_or_never().expect("the place is the run's");
        let other = place.turn().now_or_never().expect("another is free");
        assert_eq!(all.available_permits(), 0);
        let (first, last) = if own_first { (own, other) } else { (other, own) };
        drop(first);
        assert_eq!(all.available_permits(), 1, "nothing of the run waits for it; own first: {own_first}");
        drop(last);
        assert_eq!(all.available_permits(), 2);
    }
}

#[test]
fn the_own_place_is_kept_for_sources_that_are_left() {
    let all = two();
    let others = all.clone().try_acquire_owned().expect("both are free");
    let place = Place::wait(&all, 3).now_or_never().expect("one is free");
    let first = place.turn().now_or_never().expect("the place is the run's");
    drop(others);
    let second = place.turn().now_or_never().expect("another is free");
    drop(first);
    assert_eq!(all.available_permits(), 0, "a source of the run waits for it");
    let third = place.turn().now_or_never().expect("the place is the run's");
    drop((second, third));
    assert_eq!(all.available_permits(), 2);
}

#[test]
fn who_has_no_place_of_his_own_waits_with_all_others() {
    let all = two();
    let place = Place::none(&all);
    let turns = [place.turn().now_or_never(), place.turn().now_or_never()];
    assert!(turns.iter().all(Option::is_some) && place.turn().now_or_never().is_none());
    drop(turns);
    assert_eq!(all.available_permits(), 2);
}

#[test]
fn a_run_that_ends_early_gives_its_place_back() {
    let all = two();
    let place = Place::wait(&all, 5).now_or_never().expect("both are free");
    drop(place.turn().now_or_never().expect("the place is the run's"));
    assert_eq!(all.available_permits(), 1);
    drop(place);
    assert_eq!(all.available_permits(), 2);
}

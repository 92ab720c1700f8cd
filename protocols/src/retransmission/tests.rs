//! Claims about what is kept, for how long and for whom, against the state alone (its clock is an
//! argument).

use super::*;
use crate::xdr::Encoder;

fn client(number: u16) -> Client {
    Client::new(SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 900)))
}

fn key(number: u64) -> RetryKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.to_be_bytes());
    RetryKey(key)
}

fn body(number: u32) -> Body {
    let mut encoder = Encoder::new();
    encoder.u32(number);
    encoder.finish()
}

fn executed(state: &mut State, client: Client, key: RetryKey, now: Instant) {
    assert!(state.begin(client, key, now).is_none());
    state.ended(client, key, Ending::Kept(Kind::Change, body(1)), now);
}

fn written(state: &mut State, client: Client, key: RetryKey, now: Instant) {
    assert!(state.begin(client, key, now).is_none());
    state.ended(client, key, Ending::Kept(Kind::Write, body(1)), now);
}

/// What a repetition was given, as its reply travels.
fn reply(verdict: Verdict) -> Vec<u8> {
    crate::rpc::Reply { xid: 1, verdict }.to_vec()
}

fn is_kept(state: &mut State, client: Client, key: RetryKey, now: Instant) -> bool {
    match state.begin(client, key, now) {
        Some(Attempt::Done(_)) => true,
        Some(_) => false,
        None => {
            state.ended(client, key, Ending::Lost, now);
            false
        }
    }
}

#[test]
fn a_repetition_gets_the_answer_whatever_port_it_comes_from() {
    let cache = Arc::new(Retransmissions::default());
    let first = Client::new("192.0.2.1:700".parse().unwrap());
    let second = Client::new("[::ffff:192.0.2.1]:1023".parse().unwrap());
    let Attempt::First(execution) = cache.begin(first, key(1)) else { panic!("not the first") };
    execution.finish(Kind::Change, body(5));
    let Attempt::Done(answer) = cache.begin(second, key(1)) else { panic!("not remembered") };
    assert_eq!(answer.to_vec(), body(5).to_vec());
}

#[tokio::test]
async fn of_repetitions_under_way_the_newest_is_answered() {
    let cache = Arc::new(Retransmissions::default());
    let Attempt::First(execution) = cache.begin(client(1), key(1)) else { panic!("not the first") };
    let Attempt::UnderWay(older) = cache.begin(client(1), key(1)) else { panic!("not under way") };
    let Attempt::UnderWay(newer) = cache.begin(client(1), key(1)) else { panic!("not under way") };
    execution.finish(Kind::Change, body(5));
    assert!(older.await.is_err());
    assert_eq!(reply(newer.await.unwrap()), reply(Verdict::Success(body(5))));
}

#[tokio::test]
async fn whoever_waits_gets_an_answer_that_is_not_kept() {
    let cache = Arc::new(Retransmissions::default());
    for verdict in [Verdict::Success(body(10_008)), Verdict::SystemError] {
        let Attempt::First(execution) = cache.begin(client(1), key(1)) else { panic!("it was kept") };
        let Attempt::UnderWay(waiting) = cache.begin(client(1), key(1)) else { panic!("not under way") };
        execution.pass_on(verdict.clone());
        assert_eq!(reply(waiting.await.unwrap()), reply(verdict));
    }
    assert_eq!(cache.kept(), 0);
}

#[test]
fn a_call_that_ended_without_an_answer_is_carried_out_again() {
    let cache = Arc::new(Retransmissions::default());
    let Attempt::First(execution) = cache.begin(client(1), key(1)) else { panic!("not the first") };
    drop(execution);
    assert!(matches!(cache.begin(client(1), key(1)), Attempt::First(_)));
}

#[test]
fn other_clients_do_not_get_the_answer() {
    let (mut state, now) = (State::default(), Instant::now());
    executed(&mut state, client(1), key(1), now);
    assert!(!is_kept(&mut state, client(2), key(1), now));
}

#[test]
fn answers_are_forgotten_after_their_time() {
    let (mut state, now) = (State::default(), Instant::now());
    executed(&mut state, client(1), key(1), now);
    assert!(is_kept(&mut state, client(1), key(1), now + KEPT_FOR.mul_f32(0.99)));
    assert!(!is_kept(&mut state, client(1), key(1), now + KEPT_FOR));
    assert_eq!(state.kept, 0);
}

#[test]
fn a_client_keeps_its_newest_answers_up_to_its_bound() {
    let (mut state, now) = (State::default(), Instant::now());
    let more = ENTRIES_PER_CLIENT_MAX as u64 + 10;
    (0..more).for_each(|number| executed(&mut state, client(1), key(number), now));
    assert_eq!(state.kept, ENTRIES_PER_CLIENT_MAX);
    assert!(!is_kept(&mut state, client(1), key(9), now));
    assert!(is_kept(&mut state, client(1), key(10), now));
}

#[test]
fn writes_push_out_older_writes_and_no_other_answer() {
    let (mut state, now) = (State::default(), Instant::now());
    (0..10).for_each(|number| executed(&mut state, client(1), key(number), now));
    let writes = 100..100 + 4 * ENTRIES_PER_CLIENT_MAX as u64;
    writes.clone().for_each(|number| written(&mut state, client(1), key(number), now));
    assert_eq!(state.kept, 10 + WRITES_PER_CLIENT_MAX);
    assert!((0..10).all(|number| is_kept(&mut state, client(1), key(number), now)));
    assert!(is_kept(&mut state, client(1), key(writes.end - WRITES_PER_CLIENT_MAX as u64), now));
    assert!(!is_kept(&mut state, client(1), key(writes.end - WRITES_PER_CLIENT_MAX as u64 - 1), now));
}

#[test]
fn when_there_are_too_many_writes_go_first() {
    let (mut state, now) = (State::default(), Instant::now());
    executed(&mut state, client(0), key(0), now);
    for name in 0..=(ENTRIES_TOTAL_MAX / WRITES_PER_CLIENT_MAX) as u16 {
        (1..=WRITES_PER_CLIENT_MAX as u64)
            .for_each(|number| written(&mut state, client(name), key(number), now));
    }
    assert_eq!(state.kept, ENTRIES_TOTAL_MAX);
    assert!(is_kept(&mut state, client(0), key(0), now), "it is the oldest of all");
    assert!(!is_kept(&mut state, client(0), key(1), now));
}

#[test]
fn the_total_is_bounded_and_clients_give_up_in_turn() {
    let (mut state, now) = (State::default(), Instant::now());
    let clients = (ENTRIES_TOTAL_MAX / ENTRIES_PER_CLIENT_MAX + 8) as u16;
    executed(&mut state, client(9999), key(0), now);
    executed(&mut state, client(9999), key(1), now);
    for number in 0..ENTRIES_PER_CLIENT_MAX as u64 {
        (0..clients).for_each(|name| executed(&mut state, client(name), key(number), now));
    }
    assert_eq!(state.kept, ENTRIES_TOTAL_MAX);
    let counted: usize =
        state.clients.values().map(|entries| entries.order.iter().map(VecDeque::len).sum::<usize>()).sum();
    assert_eq!(counted, state.kept);
    assert!(is_kept(&mut state, client(3), key(ENTRIES_PER_CLIENT_MAX as u64 - 1), now));
}

#[test]
fn clients_that_never_come_back_do_not_accumulate() {
    let (mut state, now) = (State::default(), Instant::now());
    for number in 0..u64::from(u16::MAX) * 2 {
        executed(&mut state, client((number % 60_000) as u16), key(number), now);
    }
    assert!(state.clients.len() <= ENTRIES_TOTAL_MAX);
    assert_eq!(state.turns.len(), state.clients.len());
}

#[test]
fn the_key_covers_all_that_names_a_call() {
    use crate::rpc::{Credential, Transport};
    let request = |procedure, arguments: &'static [u8]| Request {
        peer: "192.0.2.1:700".parse().unwrap(),
        transport: Transport::Tcp,
        version: 3,
        procedure,
        credential: Credential::None,
        arguments: bytes::Bytes::from_static(arguments),
        retry: None,
    };
    let base = retry_key(client(1), 7, 100_003, &request(8, b"abcd"));
    assert_eq!(base, retry_key(client(1), 7, 100_003, &request(8, b"abcd")));
    let others = [
        retry_key(client(2), 7, 100_003, &request(8, b"abcd")),
        retry_key(client(1), 8, 100_003, &request(8, b"abcd")),
        retry_key(client(1), 7, 100_005, &request(8, b"abcd")),
        retry_key(client(1), 7, 100_003, &request(9, b"abcd")),
        retry_key(client(1), 7, 100_003, &request(8, b"abce")),
        retry_key(client(1), 7, 100_003, &request(8, b"abcd\0\0\0\0")),
    ];
    assert!(others.iter().all(|other| *other != base));
}

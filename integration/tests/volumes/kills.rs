//! `kill -9` at any instant loses nothing that was flushed.
//!
//! Each block says which version of it it is. After a restart it must be of no older version than the last that was
//! flushed, and of none that was never sent.

use std::time::Duration;

use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, free_address};

use crate::client::{Client, FUA, WRITE};
use crate::{VOLUME, tables};

const BLOCKS: u64 = 512;
const BLOCK_BYTES: u64 = 4096;
/// Kills unless the environment says otherwise.
const KILLS: u64 = 4;

/// What may be in a block.
#[derive(Clone, Copy, Default)]
struct Block {
    flushed: u64,
    answered: u64,
    sent: u64,
}

fn content(block: u64, version: u64) -> Vec<u8> {
    let head = [version.to_le_bytes(), block.to_le_bytes()].concat();
    let mut chance = Chance::new((block << 32) | version);
    [head, chance.bytes(BLOCK_BYTES as usize - 16)].concat()
}

async fn check(client: &mut Client, blocks: &mut [Block]) {
    for (number, block) in (0..).zip(blocks.iter_mut()) {
        let at = number * BLOCK_BYTES;
        let bytes = client.read(at..at + BLOCK_BYTES).await.expect("it can be read");
        let version = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        assert!(
            (block.flushed..=block.sent).contains(&version),
            "block {number} has version {version}; flushed was {}, sent {}",
            block.flushed,
            block.sent
        );
        let expected = if version == 0 { vec![0; BLOCK_BYTES as usize] } else { content(number, version) };
        assert!(bytes == expected, "block {number} is torn");
        *block = Block { flushed: version, answered: version, sent: version };
    }
}

/// Writes and flushes until the gateway is gone.
async fn work(client: &mut Client, blocks: &mut [Block], chance: &mut Chance) {
    loop {
        let number = chance.below(BLOCKS);
        let block = &mut blocks[number as usize];
        block.sent += 1;
        let (flags, data) = (if chance.below(8) == 0 { FUA } else { 0 }, content(number, block.sent));
        if client.done(WRITE, flags, number * BLOCK_BYTES, data.len() as u32, &data).await.is_err() {
            return;
        }
        block.answered = block.sent;
        if flags == FUA {
            block.flushed = block.sent;
        }
        if chance.below(10) == 0 {
            if client.flush().await.is_err() {
                return;
            }
            blocks.iter_mut().for_each(|block| block.flushed = block.answered);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_flushed_is_lost_by_a_kill_at_any_instant() {
    let mut chance = Chance::announced("volume kills");
    let kills = std::env::var("TIDEGATE_KILLS").map_or(KILLS, |text| text.parse().expect("a number"));
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
    let mut gateway = Gateway::create_with(folder.path(), &tables(address, Some("2MiB")));
    let mut blocks = [Block::default(); BLOCKS as usize];
    for _ in 0..kills {
        gateway.start();
        let mut client = Client::open(address, VOLUME, true).await.expect("it is served");
        check(&mut client, &mut blocks).await;
        let life = Duration::from_millis(200 + chance.below(1500));
        let death = tokio::task::spawn_blocking(move || {
            std::thread::sleep(life);
            gateway.kill();
            gateway
        });
        work(&mut client, &mut blocks, &mut chance).await;
        gateway = death.await.expect("the killer does not panic");
    }
    gateway.start();
    let mut client = Client::open(address, VOLUME, true).await.expect("it is served");
    check(&mut client, &mut blocks).await;
    assert!(blocks.iter().any(|block| block.flushed > 0), "something was done");
    drop(client);
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}

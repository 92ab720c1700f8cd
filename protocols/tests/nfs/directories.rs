//! Goal: listings are whole, resume anywhere, and fit the bytes that were asked for exactly.

use std::collections::BTreeSet;

use nfs3_types::nfs3::*;

use crate::harness::{Client, NFS, Served, call, create, packed, root, serve, status, word};

/// Files of names of all lengths from 1 to `count`, capped at 255.
async fn populate(client: &mut Client, count: usize) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::from([b".".to_vec(), b"..".to_vec()]);
    for number in 0..count {
        let mut name = number.to_string().into_bytes();
        name.resize((name.len() + number).min(255), b'x');
        create(client, &root(), &name).await;
        names.insert(name);
    }
    names
}

fn readdir(cookie: u64, verifier: cookieverf3, count: u32) -> READDIR3args {
    READDIR3args { dir: root(), cookie, cookieverf: verifier, count }
}

fn readdirplus(cookie: u64, verifier: cookieverf3, dircount: u32, maxcount: u32) -> READDIRPLUS3args {
    READDIRPLUS3args { dir: root(), cookie, cookieverf: verifier, dircount, maxcount }
}

async fn populated(count: usize) -> (Served, Client, BTreeSet<Vec<u8>>) {
    let served = serve().await;
    let mut client = served.client().await;
    let names = populate(&mut client, count).await;
    (served, client, names)
}

#[tokio::test]
async fn readdir_lists_every_name_once_whatever_the_size_of_its_pages() {
    let (_served, mut client, names) = populated(60).await;
    for count in [384, 400, 1000, 4096, 65_536] {
        let (mut seen, mut cookie, mut verifier) = (Vec::new(), 0, cookieverf3([0; 8]));
        loop {
            let page = client.readdir(&readdir(cookie, verifier, count)).await.unwrap().unwrap();
            for entry in &page.reply.entries.0 {
                assert!(entry.cookie > cookie, "cookies grow");
                cookie = entry.cookie;
                seen.push(entry.name.0.to_vec());
            }
            verifier = page.cookieverf;
            if page.reply.eof {
                break;
            }
        }
        assert_eq!(seen.len(), names.len());
        assert_eq!(seen[..2], [b".".to_vec(), b"..".to_vec()]);
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names, "pages of {count} bytes");
    }
}

#[tokio::test]
async fn readdirplus_gives_each_name_with_its_own_handle_and_attributes() {
    let (_served, mut client, names) = populated(40).await;
    let (mut seen, mut cookie, mut verifier) = (BTreeSet::new(), 0, cookieverf3([0; 8]));
    loop {
        let page = client.readdirplus(&readdirplus(cookie, verifier, 1000, 2000)).await.unwrap().unwrap();
        for entry in page.reply.entries.0 {
            cookie = entry.cookie;
            let object = entry.name_handle.unwrap();
            let got = client.getattr(&GETATTR3args { object }).await.unwrap().unwrap();
            assert_eq!(got.obj_attributes.fileid, entry.fileid);
            assert_eq!(entry.name_attributes.unwrap().fileid, entry.fileid);
            seen.insert(entry.name.0.to_vec());
        }
        verifier = page.cookieverf;
        if page.reply.eof {
            break;
        }
    }
    assert_eq!(seen, names);
}

#[tokio::test]
async fn a_page_is_filled_to_the_byte_and_never_beyond() {
    let (served, _client, _) = populated(30).await;
    let mut raw = served.raw().await;
    let zero = || cookieverf3([0; 8]);
    for procedure in [16, 17] {
        let mut xid = procedure * 10_000;
        let mut exact = false;
        for room in (104..6000).step_by(4) {
            xid += 1;
            let arguments = match procedure {
                16 => packed(&readdir(0, zero(), room)),
                _ => packed(&readdirplus(0, zero(), room, room)),
            };
            let reply = raw.exchange(&call(xid, NFS, 3, procedure, &arguments)).await;
            if word(&reply, 6) == 0 {
                let bytes = (reply.len() - 28) as u32;
                assert!(bytes <= room, "procedure {procedure}: {bytes} bytes where {room} were asked for");
                exact |= bytes == room;
            }
        }
        assert!(exact, "procedure {procedure}: no size was filled to the byte");
    }
}

#[tokio::test]
async fn a_page_too_small_for_one_entry_says_so() {
    let (_served, mut client, _) = populated(3).await;
    let zero = || cookieverf3([0; 8]);
    // The frame takes 104 bytes, the entry "." 28, its attributes and handle 112.
    for (count, fits) in [(0, false), (103, false), (131, false), (132, true)] {
        let page = client.readdir(&readdir(0, zero(), count)).await.unwrap();
        assert_eq!(matches!(page, Nfs3Result::Ok(_)), fits, "READDIR of {count} bytes");
        if !fits {
            assert_eq!(status(page), nfsstat3::NFS3ERR_TOOSMALL);
        }
    }
    for (count, fits) in [(0, false), (243, false), (244, true)] {
        let page = client.readdirplus(&readdirplus(0, zero(), count, count)).await.unwrap();
        assert_eq!(matches!(page, Nfs3Result::Ok(_)), fits, "READDIRPLUS of {count} bytes");
    }
}

#[tokio::test]
async fn dircount_bounds_names_but_never_to_nothing() {
    let (_served, mut client, _) = populated(20).await;
    let zero = || cookieverf3([0; 8]);
    let page = client.readdirplus(&readdirplus(0, zero(), 0, 65_536)).await.unwrap().unwrap();
    assert_eq!(page.reply.entries.0.len(), 1);
    let page = client.readdirplus(&readdirplus(0, zero(), 48, 65_536)).await.unwrap().unwrap();
    assert_eq!(page.reply.entries.0.len(), 2, "two entries of 24 bytes each");
}

#[tokio::test]
async fn the_end_of_a_directory_is_an_empty_page_that_ends() {
    let (_served, mut client, _) = populated(3).await;
    let page = client.readdir(&readdir(1 << 40, cookieverf3([0; 8]), 4096)).await.unwrap().unwrap();
    assert!(page.reply.entries.0.is_empty() && page.reply.eof);
}

#[tokio::test]
async fn a_wrong_cookie_verifier_is_refused_and_a_listing_of_a_file_too() {
    let (_served, mut client, _) = populated(3).await;
    let page = client.readdir(&readdir(3, cookieverf3([9; 8]), 4096)).await.unwrap();
    assert_eq!(status(page), nfsstat3::NFS3ERR_BAD_COOKIE);
    let (file, _) = create(&mut client, &root(), b"file").await;
    let arguments = READDIR3args { dir: file, cookie: 0, cookieverf: cookieverf3([0; 8]), count: 4096 };
    assert_eq!(status(client.readdir(&arguments).await.unwrap()), nfsstat3::NFS3ERR_NOTDIR);
}

//! Two clients of one share: what one has closed, the other sees when it opens; close-to-open consistency, which is
//! what NFS promises to programs that take turns.
//!
//! The server's part is that every change shows in the attributes that the other client compares when it opens:
//! change time, modification time, length; and that a handle whose file is gone says so.

use std::net::SocketAddr;

use tidegate_integration::guest::LinuxClient;

/// Turns that each client takes to write one file.
const ROUNDS: usize = 4;

/// Names are looked up anew each time too: else a client may go by an old listing for half a minute, as every
/// client of NFS may.
const FRESH_NAMES: &str = "lookupcache=none,acdirmin=0,acdirmax=0";

/// Who changes, and who looks. Each direction has names of its own: a client that removed one may remember for
/// a while that there is none.
const DIRECTIONS: [(usize, usize); 2] = [(0, 1), (1, 0)];

/// Both clients, with the share mounted.
struct Pair {
    clients: [LinuxClient; 2],
}

impl Pair {
    fn mount(&mut self, gateway: SocketAddr, options: &str) {
        for client in &mut self.clients {
            client.mount(gateway, options);
        }
    }

    fn unmount(&mut self) {
        for client in &mut self.clients {
            client.unmount();
        }
    }

    /// What a client prints, which must be `wanted`.
    fn expect(&mut self, client: usize, command: &str, wanted: &str) {
        assert_eq!(self.clients[client].run(command), wanted, "client {client}: {command}");
    }

    /// Runs something on one of them.
    fn on(&mut self, client: usize, command: &str) -> String {
        self.clients[client].run(command)
    }
}

/// The same file, rewritten in turn: also with the same length, in place, where nothing but times tells.
fn rewrite_in_turn(pair: &mut Pair) {
    for round in 0..ROUNDS {
        for (writer, reader) in DIRECTIONS {
            let word = format!("round {round} by {writer}");
            pair.on(writer, &format!("echo {word} >/share/file"));
            pair.expect(reader, "cat /share/file", &word);
            let word = word.replace("round", "place");
            pair.on(writer, &format!("echo {word} | dd of=/share/file conv=notrunc"));
            pair.expect(reader, "cat /share/file", &word);
            pair.on(writer, "echo more >>/share/file");
            pair.expect(reader, "cat /share/file", &format!("{word}\nmore"));
            pair.on(writer, "truncate -s 5 /share/file");
            pair.expect(reader, "cat /share/file", &word[..5]);
        }
    }
}

/// Megabytes, of which one client then changes a few bytes in the middle.
fn change_a_long_file(pair: &mut Pair) {
    for (writer, reader) in DIRECTIONS {
        pair.on(writer, "dd if=/dev/urandom of=/share/long bs=1M count=3");
        for _ in 0..2 {
            let sum = pair.on(writer, "sha256sum /share/long");
            pair.expect(reader, "sha256sum /share/long", &sum);
            pair.on(writer, "echo change | dd of=/share/long bs=1 seek=1500000 conv=notrunc");
        }
    }
}

/// Mode, owner, group and times.
fn change_attributes(pair: &mut Pair) {
    for (changer, looker) in DIRECTIONS {
        let file = format!("/share/attributes-{changer}");
        pair.on(changer, &format!("echo {changer} >{file}"));
        pair.expect(looker, &format!("cat {file}"), &changer.to_string());
        pair.on(changer, &format!("chown 5:6 {file} && chmod 2751 {file}"));
        pair.on(changer, &format!("touch -d '2001-02-03 04:05:06' {file}"));
        let look = format!("cat {file} >/dev/null && stat -c '%a %u %g %y' {file}");
        pair.expect(looker, &look, "2751 5 6 2001-02-03 04:05:06.000000000 +0000");
    }
}

/// Names that the reader has in its cache go, or get other files.
fn remove_and_replace(pair: &mut Pair) {
    for (changer, looker) in DIRECTIONS {
        let file = format!("/share/name-{changer}");
        pair.on(changer, &format!("echo old >{file} && echo other >/share/spare"));
        pair.expect(looker, &format!("cat {file}"), "old");
        pair.on(changer, &format!("mv /share/spare {file}"));
        pair.expect(looker, &format!("cat {file}"), "other");
        pair.on(changer, &format!("rm {file}"));
        let gone = pair.clients[looker].attempt(&format!("cat {file}"));
        assert!(gone.status != 0 && gone.output.contains("No such file"), "{gone:?}");
    }
}

/// A name whose file lives on under another name: only looking up tells.
fn swap_names(pair: &mut Pair) {
    for (changer, looker) in DIRECTIONS {
        pair.on(changer, "mkdir -p /share/d && echo one >/share/d/one && echo two >/share/d/two");
        pair.expect(looker, "cat /share/d/one /share/d/two", "one\ntwo");
        pair.on(changer, "cd /share/d && mv one three && mv two one && mv three two && cd /");
        pair.expect(looker, "cat /share/d/one /share/d/two", "two\none");
        let missing = pair.clients[looker].attempt("cat /share/d/new");
        assert!(missing.status != 0, "{missing:?}");
        pair.on(changer, "ln /share/d/one /share/d/new");
        pair.expect(looker, "cat /share/d/new && stat -c %h /share/d/one", "two\n2");
        pair.on(changer, "rm -r /share/d");
        assert_ne!(pair.clients[looker].attempt("ls /share/d").status, 0, "it is gone");
    }
}

/// Both make files in one directory at the same time.
fn make_names_at_once(pair: &mut Pair) {
    pair.on(0, "mkdir /share/both");
    for (index, client) in pair.clients.iter_mut().enumerate() {
        client.begin(&format!("for i in $(seq 100); do echo $i >/share/both/{index}-$i; done"));
    }
    for client in &mut pair.clients {
        assert_eq!(client.finish(std::time::Duration::from_mins(2)).status, 0, "files are made");
    }
    for client in 0..2 {
        pair.expect(client, "ls /share/both | wc -l", "200");
        pair.expect(client, "cat /share/both/* | sort -n | uniq -c | grep -vc ' 2 '; true", "0");
    }
}

#[test]
fn what_one_client_has_closed_the_other_sees_when_it_opens() {
    let Some(parts) = super::parts("two clients") else { return };
    let (_folder, gateway) = super::gateway();
    let boot = || LinuxClient::boot(&parts, None, |_| {});
    let mut pair = std::thread::scope(|scope| {
        let other = scope.spawn(boot);
        Pair { clients: [boot(), other.join().expect("a boot does not panic")] }
    });
    pair.mount(gateway.address(), "");
    rewrite_in_turn(&mut pair);
    change_a_long_file(&mut pair);
    change_attributes(&mut pair);
    remove_and_replace(&mut pair);
    pair.unmount();
    pair.mount(gateway.address(), FRESH_NAMES);
    swap_names(&mut pair);
    make_names_at_once(&mut pair);
    pair.unmount();
    super::stop(gateway);
}

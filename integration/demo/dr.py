#!/usr/bin/env python3
"""A site is lost while a client writes: the runbook brings its files back at another site, and the client goes on.

Two sites, a store and a client are network namespaces on one bridge; the links of the sites are as slow as a line is.
The store is a bucket of a third gateway. A drill runs first, while the client writes; then production is
killed with its link, the runbook runs at the other site, and moves the address that the client knows. Last production comes
back: what it had not published is a branch, it joins its line again, and is handed the share back, client and all.

Needs root for the namespaces. Exit status: 0 when all that was acknowledged before the newest head froze is there and the
client went on; 1 else.
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SERVICE = "10.77.0.100"
STORE, HOME, AWAY, CLIENT = "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5"
SHARE = "files"
RPO = "2s"
PORT = 2049
# What one round of the client writes: files and bytes in each.
FILES, FILE_BYTES = 8, 60_000
# How long a round may take before the client tries again, in seconds.
ROUND_TIME = 10
PATIENCE = 300
POLL = 0.1
SECOND_NS = 1_000_000_000

RUNBOOK = f"""
[runbook.site-loss]
about = "The files at the other site, under the address that clients know"
rto = "1m"
rpo = "10s"
[[runbook.site-loss.step]]
name = "attach"
action = "attach"
share = "{SHARE}"
[[runbook.site-loss.step]]
name = "serve"
action = "serve"
after = ["attach"]
[[runbook.site-loss.step]]
name = "marker"
action = "check-file"
share = "{SHARE}"
path = "marker/file-0"
after = ["serve"]
[[runbook.site-loss.step]]
name = "address"
action = "move-address"
address = "{SERVICE}/24"
interface = "eth0"
after = ["marker"]
[[runbook.site-loss.step]]
name = "reached"
action = "check-tcp"
address = "{SERVICE}:{PORT}"
after = ["address"]
drill = "skip"
"""


def say(text):
    print(text, flush=True)


def call(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


class Net:
    """Namespaces on a bridge, which stands in a namespace of its own: nothing of this machine's network changes."""

    def __init__(self, rate):
        self.prefix = f"tg{os.getpid()}"
        self.names = []
        self.rate = rate

    def space(self, name):
        return f"{self.prefix}-{name}"

    def make(self):
        self._add("net")
        self.inside("net", "ip", "link", "add", "bridge", "type", "bridge")
        self.inside("net", "ip", "link", "set", "bridge", "up")
        for name, address in (("store", STORE), ("home", HOME), ("away", AWAY), ("client", CLIENT)):
            self._add(name)
            call("ip", "link", "add", "eth0", "netns", self.space(name), "type", "veth",
                 "peer", "name", name, "netns", self.space("net"))
            self.inside("net", "ip", "link", "set", name, "master", "bridge", "up")
            self.inside(name, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self.inside(name, "ip", "link", "set", "eth0", "up")
        for name in ("home", "away"):
            shape = ["tbf", "rate", self.rate, "burst", "256kb", "latency", "100ms"]
            self.inside(name, "tc", "qdisc", "add", "dev", "eth0", "root", *shape)
            self.inside("net", "tc", "qdisc", "add", "dev", name, "root", *shape)
        self.inside("home", "ip", "address", "add", f"{SERVICE}/24", "dev", "eth0")

    def _add(self, name):
        call("ip", "netns", "add", self.space(name))
        self.names.append(name)
        self.inside(name, "ip", "link", "set", "lo", "up")

    def words(self, name, *words):
        return ["ip", "netns", "exec", self.space(name), *map(str, words)]

    def inside(self, name, *words):
        return call(*self.words(name, *words))

    def end(self):
        for name in self.names:
            space = self.space(name)
            pids = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
            for pid in pids.stdout.split():
                # It may have ended at this moment.
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "delete", space], check=False)


class Machine:
    """A gateway in a namespace, with a folder of its own."""

    def __init__(self, net, name, program, folder):
        self.net, self.name, self.program = net, name, program
        self.folder = folder / name
        self.folder.mkdir()
        self.settings = self.folder / "tidegate.toml"
        self.process = None

    def write(self, text):
        own = f'[gateway]\ndata = "{self.folder}/data"\nsocket = "{self.folder}/admin.sock"\n'
        self.settings.write_text(own + text)

    def run(self, *words, codes=(0,)):
        whole = self.net.words(self.name, self.program, "--settings", self.settings, "--json", *words)
        done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode not in codes:
            raise RuntimeError(f"tidegate {' '.join(map(str, words))} failed ({done.returncode}): {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def start(self):
        with (self.folder / "log").open("ab") as log:
            whole = self.net.words(self.name, self.program, "--settings", self.settings, "serve")
            self.process = subprocess.Popen(whole, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                return self.run("status")
            except RuntimeError:
                if self.process.poll() is not None:
                    log = (self.folder / "log").read_text()[-2000:]
                    raise RuntimeError(f"the gateway of {self.name} has ended:\n{log}") from None
                time.sleep(POLL)
        raise RuntimeError(f"the gateway of {self.name} does not serve")


class Client(threading.Thread):
    """Writes rounds of files under the one address that it knows, whatever is there."""

    def __init__(self, net, nfswalk, folder):
        super().__init__(daemon=True)
        self.net, self.nfswalk = net, nfswalk
        self.url = f"nfs://{SERVICE}/{SHARE}?nfsport={PORT}&mountport={PORT}"
        self.source = folder / "source"
        self.source.mkdir()
        for number in range(FILES):
            (self.source / f"file-{number}").write_bytes(os.urandom(FILE_BYTES))
        self.stopped = threading.Event()
        # (nanoseconds, path) of what was acknowledged.
        self.acknowledged = []
        self.outage = None

    def put(self, name):
        whole = self.net.words("client", self.nfswalk, "put", self.url, self.source, f"/{name}", 2)
        process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            output, _ = process.communicate(timeout=ROUND_TIME)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        for line in output.splitlines():
            when, _, path = line.partition("\t")
            path = path.strip("/.")
            self.acknowledged.append((int(when), f"{name}/{path}" if path else name))
        return process.returncode == 0

    def run(self):
        number = 0
        last = time.monotonic()
        while not self.stopped.is_set():
            if self.put(f"round-{number}"):
                now = time.monotonic()
                if now - last > (self.outage or 0):
                    self.outage = now - last
                last = now
            else:
                time.sleep(POLL)
            number += 1

    def wait_for(self, rounds):
        end = time.monotonic() + PATIENCE
        wanted = len(self.acknowledged) + rounds * FILES
        while len(self.acknowledged) < wanted:
            if time.monotonic() > end:
                raise RuntimeError("the client does not go on")
            time.sleep(POLL)

    def stop(self):
        self.stopped.set()
        self.join(ROUND_TIME * 3)

    def listing(self):
        whole = self.net.words("client", self.nfswalk, "read", self.url, "/.", 4)
        done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"not everything could be read: {done.stderr.strip()}")
        return {line.split("\t")[0].strip("/.") for line in done.stdout.splitlines()}


def nanoseconds(text):
    """A moment as the program writes it, exactly."""
    whole, _, part = text.rstrip("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) * SECOND_NS + int(part.ljust(9, "0") or 0)


def store(net, program, folder):
    """A bucket in a gateway of its own, and what the sites say of it."""
    secret = folder / "secret"
    secret.write_text("a-secret-that-is-only-of-this-demo\n")
    credentials = folder / "credentials"
    credentials.write_text(f"demo-key\n{secret.read_text()}")
    for path in (secret, credentials):
        path.chmod(0o600)
    machine = Machine(net, "store", program, folder)
    machine.write(
        f'[repository]\nkey = {{ file = "{folder}/store.key" }}\n'
        f'[[target]]\nname = "disk"\naddress = "file://{folder}/store-repository"\n'
        f'[nfs]\nlisten = []\n[s3]\nlisten = ["{STORE}:9000"]\n[[bucket]]\nname = "tidegate"\n'
        f'[[access_key]]\nid = "demo-key"\nsecret = {{ file = "{secret}" }}\n'
    )
    machine.run("init", "--no-recovery-key")
    machine.start()
    return credentials


def site_settings(folder, credentials):
    return (
        f'[repository]\nkey = {{ file = "{folder}/repository.key" }}\n'
        f'[[target]]\nname = "main"\naddress = "s3://tidegate/site"\nendpoint = "http://{STORE}:9000"\n'
        f'credentials = {{ file = "{credentials}" }}\n[nfs]\nlisten = ["0.0.0.0:{PORT}"]\n'
    )


def shown(objective):
    measured, promised = objective["measured_ms"], objective["objective_ms"]
    return "-" if measured is None else f"{measured / 1000:.1f} s (promised: {promised / 1000:.0f} s)"


def table(rows):
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"   {name:<{width}}  {value}" for name, value in rows)


def perform(net, options, folder):
    credentials = store(net, options.tidegate, folder)
    home = Machine(net, "home", options.tidegate, folder)
    home.write(
        site_settings(folder, credentials)
        + f'[[share]]\nname = "{SHARE}"\nrpo = "{RPO}"\nsquash = "none"\nclients = ["10.77.0.0/24", "127.0.0.0/8"]\n'
        + RUNBOOK
    )
    home.run("init", "--no-recovery-key")
    home.start()
    client = Client(net, options.nfswalk, folder)
    if not client.put("marker"):
        raise RuntimeError("the client cannot write")
    home.run("commit", SHARE)
    client.start()
    client.wait_for(5)
    say(f"1. a client writes to {SERVICE}; production publishes to a bucket over a line of {net.rate}")

    away = Machine(net, "away", options.tidegate, folder)
    away.write(site_settings(folder, credentials))
    drill = away.run("runbook", "drill", "site-loss")
    say("2. a drill at the other site, from bucket and key alone, while the client writes:")
    say(table([
        ("to the first byte", shown(drill["rto_first_byte"])),
        ("age of the newest head", shown(drill["rpo"])),
        ("left of the drill", "nothing" if drill["torn_down"] else "SOMETHING"),
        ("repository", "as it was" if not drill["differences"] else "; ".join(drill["differences"])),
    ]))
    client.wait_for(5)

    heads = home.run("head", "list", SHARE, "--limit", "1")
    net.inside("net", "ip", "link", "set", "home", "down")
    for pid in net_pids(net, "home"):
        os.kill(pid, signal.SIGKILL)
    home.process.wait()
    struck = time.time_ns()
    say("3. production is killed, and its line cut; the client tries on")
    failover = away.run("runbook", "failover", "site-loss", "--yes")
    client.wait_for(5)
    newest = nanoseconds(failover["shares"][0]["frozen"])
    if newest < nanoseconds(heads[0]["frozen"]):
        raise RuntimeError("an older head than was published was taken over")
    status = judge(client, failover, newest, struck)
    if status == 0:
        failback(net, home, away, client)
        client.stop()
        there = client.listing()
        missing = [path for when, path in client.acknowledged if when >= struck and path not in there]
        if missing:
            say(f"FAILED: missing after the way back: {missing[:20]}")
            return 1
        say("Everything that was acknowledged at the other site is there, and the client never mounted anew.")
    return status


def failback(net, home, away, client):
    net.inside("home", "ip", "address", "del", f"{SERVICE}/24", "dev", "eth0")
    net.inside("net", "ip", "link", "set", "home", "up")
    home.start()
    plan = home.run("failback", "plan", SHARE)
    joined = home.run("share", "rejoin", SHARE, "--yes")
    kept = joined.get("branch") or "nothing was left to keep"
    say("5. production comes back, finds itself taken over, and joins its line again:")
    say(table([
        ("what it had not published", kept),
        ("differs since", f"{plan['inodes']} inodes, {plan['bytes'] / 2**20:.1f} MiB"),
        ("to be fetched", f"{plan['fetch_bytes'] / 2**20:.1f} MiB; {plan['here_bytes'] / 2**20:.1f} MiB are there"),
    ]))
    begun, client.outage = time.monotonic(), None
    away.run("handover", SHARE, "--yes")
    led = home.run("share", "rejoin", SHARE, "--lead", "--yes")
    net.inside("away", "ip", "address", "del", f"{SERVICE}/24", "dev", "eth0")
    net.inside("home", "ip", "address", "add", f"{SERVICE}/24", "dev", "eth0")
    # Its neighbours learn that the address has moved; a router does so by itself.
    net.inside("client", "ip", "neighbour", "flush", "all")
    client.wait_for(5)
    say("6. the other site hands the share back, and the address returns:")
    say(table([
        ("from the hand-over to a client's write at home", f"{time.monotonic() - begun:.1f} s"),
        ("the client waited at most", f"{client.outage or 0:.1f} s"),
        ("handles", led["handles"]),
    ]))


def net_pids(net, name):
    return [int(pid) for pid in call("ip", "netns", "pids", net.space(name)).split()]


def judge(client, failover, newest, struck):
    acknowledged = list(client.acknowledged)  # it goes on
    there = client.listing()
    before = [path for when, path in acknowledged if when < newest]
    between = [path for when, path in acknowledged if newest <= when < struck]
    after = [path for when, path in acknowledged if when >= struck]
    missing = [path for path in before + after if path not in there]
    lost = [path for path in between if path not in there]
    say("4. the other site serves under the same address, and the client goes on:")
    say(table([
        ("to the first byte", shown(failover["rto_first_byte"])),
        ("to the last check", shown(failover["rto_checked"])),
        ("the client waited at most", f"{client.outage:.1f} s"),
        ("age of the newest head", shown(failover["rpo"])),
        ("acknowledged before it", f"{len(before)}, missing: {len([path for path in before if path not in there])}"),
        ("acknowledged after it, before the kill", f"{len(between)}, lost: {len(lost)}"),
        ("acknowledged at the other site", f"{len(after)}, missing: {len([path for path in after if path not in there])}"),
    ]))
    for path in lost[:20]:
        say(f"   lost: {path}")
    if len(lost) > 20:
        say(f"   and {len(lost) - 20} more")
    if missing or not after:
        say(f"FAILED: missing: {missing[:20]}")
        return 1
    say("   Everything that was acknowledged before the newest head froze is there, and the client goes on.")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--nfswalk", required=True, type=pathlib.Path, help="the client")
    parser.add_argument("--rate", default="50mbit", help="of the line of each site, as tc writes it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was made goes
    if os.geteuid() != 0:
        say("FAILED: network namespaces need root")
        return 1
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-dr-"))
    net = Net(options.rate)
    status = 1
    try:
        net.make()
        status = perform(net, options, folder)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"FAILED: {error}")
    finally:
        net.end()
    if status == 0:
        shutil.rmtree(folder)
    else:
        say(f"Everything is left in {folder}")
    return status


if __name__ == "__main__":
    sys.exit(main())

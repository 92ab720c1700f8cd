#!/usr/bin/env python3
"""The whole promise in one run: a tree saved over NFS, the gateway killed, its disk lost, everything back.

Exit status: 0 when everything that was acknowledged before the newest head froze came back as it was,
within the memory budget; 1 when anything differs or fails.
"""

import argparse
import datetime
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import manifest
import sources
from gateway import PATIENCE, POLL, Gateway, folder_bytes
from report import costs_table, last_table

SHARE = "tree"
# How old the newest head may become.
RPO = "5s"
# The memory budget of a gateway: the default of the settings.
MEMORY_MIB = 512
# Connections that copy and read at once: many small files wait for the disk together.
CONNECTIONS = 32
# Part of the third copy that is acknowledged when the disaster strikes.
DISASTER_PART = 0.4
SECOND_NS = 1_000_000_000


def say(text):
    print(text, flush=True)


class Demo:
    """What the steps know of each other."""

    def __init__(self, options):
        self.options = options
        self.run = options.cache / "run"
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(parents=True)
        self.key = self.run / "repository.key"
        self.repository = self.run / "repository"
        self.gateway = None
        self.copying = None
        self.costs = []
        self.expected = {}
        self.figures = {}

    def make_gateway(self, name):
        self.gateway = Gateway(
            self.options.tidegate, self.run / name, self.repository, self.key, MEMORY_MIB
        )

    def end(self):
        """Stops what still runs; whether the gateway stopped well."""
        if self.copying:
            self.copying.kill()
        return self.gateway is None or self.gateway.stop()

    def client(self, *arguments):
        return [self.options.nfswalk, arguments[0], self.gateway.url(SHARE), *map(str, arguments[1:])]

    def acknowledged(self, label):
        """The client's log of a copy."""
        return self.run / f"acknowledged-{label}.log"

    # Step 1
    def begin(self):
        self.make_gateway("first")
        self.gateway.run("init")
        self.gateway.add_share(SHARE, RPO)
        self.gateway.start()
        self.gateway.wait_until_serving()
        say(f"1. a repository in {self.repository}, and a gateway on port {self.gateway.port}")

    # Steps 2 and 3
    def copy_whole(self, step, label, version):
        expected = manifest.of_tree(version.path)
        self.expected.update(manifest.below(label, expected))
        start = time.monotonic()
        with self.acknowledged(label).open("w") as log:
            self.copying = subprocess.Popen(self.client("put", version.path, f"/{label}", CONNECTIONS), stdout=log)
            status = self.copying.wait()
        copied = time.monotonic() - start
        if status != 0:
            raise RuntimeError(f"copying {version.path} failed")
        self.gateway.run("snapshot", "create", SHARE, label)
        self.costs.append(self.cost(label, copied, time.monotonic() - start - copied))
        say(f"{step}. {version.name}: {len(expected)} entries copied in {copied:.1f} s, snapshot {label!r} taken")

    def heads(self):
        return self.gateway.run("head", "list", SHARE, "--limit", "100000")

    def cost(self, label, copied, after):
        seen = self.costs[-1]["last"] if self.costs else 0
        heads = [head for head in self.heads() if head["sequence"] > seen]
        total = {key: sum(head["cost"][key] for head in heads) for key in heads[0]["cost"]}
        last = heads[0]["sequence"]
        return {**total, "label": label, "heads": len(heads), "last": last, "copied": copied, "after": after}

    # Step 4
    def disaster(self, version):
        expected = manifest.of_tree(version.path)
        log_path = self.acknowledged("third")
        begun = time.time_ns()
        with log_path.open("w") as log:
            self.copying = subprocess.Popen(self.client("put", version.path, "/third", CONNECTIONS), stdout=log)
        try:
            self.wait_for_disaster(log_path, len(expected) * DISASTER_PART, begun)
            self.figures["peak_first"] = self.gateway.peak_memory()
            ended = self.copying.poll() is not None
        finally:
            self.gateway.kill()
            struck = time.time_ns()
            self.copying.kill()
            self.copying.wait()
        shutil.rmtree(self.run / "first")
        self.figures.update(struck=struck, stored=folder_bytes(self.repository), third=expected)
        when = "after the end of a small copy" if ended else "in the middle of a further copy"
        say(f"4. kill -9 {when}, and the local state deleted: left are {self.repository.name} and {self.key.name}")

    def wait_for_disaster(self, log_path, lines, begun):
        """Until so many entries are acknowledged and a head holds some of them, or the copy is over."""
        end = time.monotonic() + PATIENCE
        while self.copying.poll() is None and time.monotonic() < end:
            self.gateway.check_alive()
            with log_path.open("rb") as log:
                enough = sum(1 for _ in log) >= lines
            if enough and _nanoseconds(self.gateway.run("head", "list", SHARE, "--limit", "1")[0]) > begun + SECOND_NS:
                return
            time.sleep(POLL)

    # Step 5
    def second_gateway(self):
        path = next(path for path, entry in self.expected.items() if entry.type == "f" and entry.size)
        start = time.monotonic()
        self.make_gateway("second")
        self.gateway.run("attach", SHARE)
        attached = time.monotonic()
        self.gateway.start()
        self.gateway.wait_until_serving()
        served = subprocess.run(self.client("byte", f"/{_unescaped(path)}"), capture_output=True, check=True)
        if len(served.stdout) != 1:
            raise RuntimeError("the second gateway served no byte")
        self.figures.update(rto=time.monotonic() - start, attach=attached - start)
        struck = self.figures["struck"]
        newest = max(moment for head in self.heads() if (moment := _nanoseconds(head)) < struck)
        self.figures.update(newest=newest, rpo=(struck - newest) / SECOND_NS)
        say(f"5. a second gateway with an empty disk serves after {self.figures['rto']:.2f} s")

    def read_back(self):
        start = time.monotonic()
        listing = self.run / "listing"
        with listing.open("w") as output:
            done = subprocess.run(self.client("read", "/.", CONNECTIONS), stdout=output, check=False)
        self.figures.update(read=time.monotonic() - start, peak_second=self.gateway.peak_memory())
        with listing.open() as lines:
            return done.returncode == 0, manifest.of_listing(lines)

    def compare(self):
        whole, found = self.read_back()
        with self.acknowledged("third").open(newline="\n") as log:
            kept = manifest.acknowledged(log, self.figures["newest"])
        third = {path: entry for path, entry in self.figures["third"].items() if path in kept}
        third = manifest.below("third", third)
        cut_short = {path for path in found if path == "third" or path.startswith("third/")}
        told = manifest.differences(
            self.expected, {path: entry for path, entry in found.items() if path not in cut_short}, True
        )
        told += manifest.differences(third, found, False)
        strangers = cut_short - manifest.below("third", self.figures["third"]).keys()
        told += [f"{path}: nobody wrote it" for path in strangers]
        self.figures.update(compared=len(self.expected) + len(third), third_kept=len(third))
        return whole, told


def _nanoseconds(head):
    """The moment at which a head froze, exactly."""
    whole, _, part = head["frozen"].rstrip("Z").partition(".")
    seconds = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
    return int(seconds) * SECOND_NS + int(part.ljust(9, "0") or 0)


def _unescaped(path):
    return b"".join(
        bytes([int(part[:2], 16)]) + part[2:].encode() if at else part.encode()
        for at, part in enumerate(path.split("%"))
    ).decode(errors="surrogateescape")


def verdict(demo, whole, told):
    """Says how it went; the exit status."""
    for line in told[: manifest.TOLD_MAX]:
        say(f"   {line}")
    if len(told) > manifest.TOLD_MAX:
        say(f"   and {len(told) - manifest.TOLD_MAX} more")
    budget = MEMORY_MIB << 20
    peak = max(demo.figures["peak_first"], demo.figures["peak_second"])
    say(last_table(demo.figures, demo.expected, budget))
    failures = []
    if told or not whole:
        failures.append(f"{len(told)} entries differ" if told else "not everything could be read")
    if peak > budget:
        failures.append(f"the gateway took {peak >> 20} MiB, more than the budget of {MEMORY_MIB} MiB")
    if failures:
        say(f"FAILED: {'; '.join(failures)}. Everything is left in {demo.run}")
        return 1
    say("Everything that was acknowledged before the newest head froze came back as it was.")
    return 0


def perform(demo, versions):
    say("copying " + " and ".join(f"{version.name} ({version.path})" for version in versions))
    demo.begin()
    demo.copy_whole(2, "first", versions[0])
    demo.copy_whole(3, "second", versions[1])
    say(costs_table(demo.costs))
    demo.disaster(versions[0])
    demo.second_gateway()
    whole, told = demo.compare()
    say(f"6. {demo.figures['compared']} entries read back over NFS and compared with their source")
    return verdict(demo, whole, told)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tidegate", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--nfswalk", required=True, type=pathlib.Path, help="the client")
    parser.add_argument("--cache", required=True, type=pathlib.Path, help="where trees and runs lie")
    parser.add_argument("--dir", help="the tree to copy, instead of kernel sources")
    parser.add_argument("--seed", type=int, default=1, help="of the edit, where there is no second version")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped
    versions = sources.choose(options.dir, options.cache, options.seed)
    demo = Demo(options)
    try:
        status = perform(demo, versions)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"FAILED: {error}. Everything is left in {demo.run}")
        status = 1
    finally:
        stopped = demo.end()
    if status == 0 and not stopped:
        say("FAILED: the second gateway did not stop well")
        status = 1
    if status == 0:
        shutil.rmtree(demo.run)
    return status


if __name__ == "__main__":
    sys.exit(main())

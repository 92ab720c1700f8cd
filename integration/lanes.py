#!/usr/bin/env python3
"""lanes.py [--config FILE] [--kept FOLDER] [--failures] [--alone] FIRST...: all test programs of the workspace, as
many beside each other as there are cores.

They are built first, with what FILE tells cargo besides. The longest, named by FIRST, begin first. What a program says is printed when it has ended, as a whole; with
--failures a line for one that passed, and the others once more at the end. With --kept what each says is kept in
FOLDER/CRATE.NAME.log, and its row (name, result, minutes) in FOLDER/programs; one that has passed by what stands
there is not run again. `cargo test` runs one after the other, and most of them wait: for disks, for
stores, for a guest with one core. One that does not end within TIDEGATE_PROGRAM_MINUTES (180) is ended, with all
that it started. Those that want the machine for themselves come last with --alone, and are left to others without.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

# What wants the machine for itself: one that is busy otherwise raises alarms of its own.
ALONE = ["alerting"]
MINUTES_MAX = float(os.environ.get("TIDEGATE_PROGRAM_MINUTES", "180"))
BUILD = ["test", "--release", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
# What of a program that failed is printed once more at the end, in bytes.
LAST_BYTES = 20_000


def programs(config):
    """(crate/name, path, folder of its crate) of each test program, built if it has to be."""
    cargo = ["cargo", "--config", config] if config else ["cargo"]
    built = subprocess.run(cargo + BUILD, stdout=subprocess.PIPE, text=True, check=True)
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            yield f"{folder.name}/{message['target']['name']}", message["executable"], folder


class Table:
    """The rows of the programs that have ended, kept in a file."""

    def __init__(self, folder):
        self.path = folder / "programs"
        self.rows = {}
        if self.path.exists():
            for row in self.path.read_text().splitlines():
                self.rows[row.split(" | ")[0].removeprefix("| ")] = row

    def has_passed(self, name):
        return "| passed" in self.rows.get(name, "")

    def note(self, name, result, minutes):
        if result == "passed" and "FAILED" in self.rows.get(name, ""):
            result = "passed, having failed before"
        self.rows[name] = f"| {name} | {result} | {minutes:.1f} |"
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{row}\n" for row in self.rows.values()))
        new.replace(self.path)


class Lanes:
    def __init__(self, kept, failures_only):
        self.kept, self.failures_only = kept, failures_only
        self.table = Table(kept) if kept else None
        self.lock = threading.Lock()
        self.failed, self.running, self.is_ending = [], set(), False

    def end(self, *_):
        """Ends everything that runs, and this program."""
        self.is_ending = True
        for process in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        os._exit(1)

    def said_by(self, name):
        """Where a program may write what it says."""
        if self.kept:
            return open(self.kept / f"{name.replace('/', '.')}.log", "w+b")
        return tempfile.TemporaryFile()

    def run(self, program):
        """Runs one."""
        name, path, folder = program
        begun = time.monotonic()
        with self.said_by(name) as said:
            environment = {**os.environ, "CARGO_MANIFEST_DIR": str(folder)}
            # What passes is of no interest then, and the program keeps it to itself.
            command = [path] if self.failures_only else [path, "--nocapture"]
            # A session of its own, so that what it started can be ended with it.
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
            self.running.add(process.pid)
            try:
                result = "FAILED" if process.wait(MINUTES_MAX * 60) else "passed"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                result = "FAILED: it did not end"
            self.running.discard(process.pid)
            minutes = (time.monotonic() - begun) / 60
            with self.lock:
                if self.is_ending:
                    return
                self.tell(name, result, minutes, process.returncode, said)

    def tell(self, name, result, minutes, code, said):
        """Keeps and says what became of one."""
        if self.table:
            self.table.note(name, result, minutes)
        if result != "passed":
            said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_BYTES))
            self.failed.append((name, said.read()))
        if result != "passed" or not self.failures_only:
            said.seek(0)
            print(f"==> {name}", flush=True)
            for piece in iter(lambda: said.read(1 << 20), b""):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        print(f"==> {name}: {minutes:.1f} minutes, {result} ({code})", flush=True)


def target(program):
    """The name of a program without its crate: what FIRST and ALONE say."""
    return program[0].split("/")[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    parser.add_argument("--kept", type=pathlib.Path)
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("first", nargs="*")
    wanted = parser.parse_args()
    lanes = Lanes(wanted.kept, wanted.failures)
    for ending in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lanes.end)
    first, last = wanted.first, len(wanted.first)
    has_passed = lanes.table.has_passed if lanes.table else lambda name: False
    waiting = [program for program in programs(wanted.config) if not has_passed(program[0])]
    waiting.sort(key=lambda program: first.index(target(program)) if target(program) in first else last)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as beside:
        list(beside.map(lanes.run, [program for program in waiting if target(program) not in ALONE]))
    if wanted.alone:
        for program in waiting:
            if target(program) in ALONE:
                lanes.run(program)
    if wanted.failures:
        for name, said in lanes.failed:
            print(f"==> {name} failed:", flush=True)
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
    if lanes.failed:
        print(f"failed: {', '.join(name for name, _ in lanes.failed)}", flush=True)
    sys.exit(1 if lanes.failed else 0)


main()

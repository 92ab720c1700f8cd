#!/usr/bin/env python3
"""lanes.py [--table TABLE] [--failures] [--alone] FIRST...: all test programs of the workspace, as many beside
each other as there are cores.

The longest, named by FIRST, begin first. What a program says is printed when it has ended, as a whole; with
--failures a line for one that passed, and the others once more at the end. For each a row (name, result, minutes)
goes to the file TABLE; those that have passed by what stands there are not run again. `cargo test` runs one after the other, and most of them wait: for disks, for
stores, for a guest with one core. One that does not end within TIDEGATE_PROGRAM_MINUTES (180) is ended, with all
that it started. Those that want the machine for themselves come last with --alone, and are left to others without.
"""

import argparse
import concurrent.futures
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
BUILD = ["cargo", "test", "--release", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]
# What of a program that failed is printed once more at the end, in bytes.
LAST_BYTES = 20_000


def programs():
    """(name, path, folder of its crate) of each test program, built if it has to be."""
    built = subprocess.run(BUILD, stdout=subprocess.PIPE, text=True, check=True)
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            yield message["target"]["name"], message["executable"], folder


def rows(table):
    return table.read_text().splitlines(keepends=True) if table and table.exists() else []


class Lanes:
    def __init__(self, table, failures_only):
        self.table, self.failures_only = table, failures_only
        self.lock = threading.Lock()
        self.failed, self.running = [], set()

    def end(self, *_):
        """Ends everything that runs, and this program."""
        for process in list(self.running):
            os.killpg(process, signal.SIGKILL)
        os._exit(1)

    def run(self, program):
        """Runs one."""
        name, path, folder = program
        begun = time.monotonic()
        with tempfile.TemporaryFile() as said:
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
                if result != "passed":
                    said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_BYTES))
                    self.failed.append((name, said.read()))
                if result != "passed" or not self.failures_only:
                    said.seek(0)
                    print(f"==> {name}", flush=True)
                    for piece in iter(lambda: said.read(1 << 20), b""):
                        sys.stdout.buffer.write(piece)
                    sys.stdout.buffer.flush()
                print(f"==> {name}: {minutes:.1f} minutes, {result} ({process.returncode})", flush=True)
                if self.table:
                    before = [row for row in rows(self.table) if not row.startswith(f"| {name} |")]
                    self.table.write_text("".join([*before, f"| {name} | {result} | {minutes:.1f} |\n"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument("--failures", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("first", nargs="*")
    wanted = parser.parse_args()
    first, last = wanted.first, len(wanted.first)
    passed = [row.split(" | ")[0].removeprefix("| ") for row in rows(wanted.table) if "| passed |" in row]
    waiting = [program for program in programs() if program[0] not in passed]
    ordered = sorted(waiting, key=lambda program: first.index(program[0]) if program[0] in first else last)
    lanes = Lanes(wanted.table, wanted.failures)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lanes.end)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as beside:
        list(beside.map(lanes.run, [program for program in ordered if program[0] not in ALONE]))
    if wanted.alone:
        for program in ordered:
            if program[0] in ALONE:
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

#!/usr/bin/env python3
"""lanes.py TABLE FIRST...: all test programs of the workspace, as many beside each other as there are cores.

The longest, named by FIRST, begin first. What a program says is printed when it has ended, as a whole; for
each a row (name, result, minutes) goes to the end of the file TABLE. `cargo test` runs one after the other,
and most of them wait: for disks, for stores, for a guest with one core. One that does not end within
TIDEGATE_PROGRAM_MINUTES (180) is ended, with all that it started. Those of ALONE are left to others.
"""

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

# What wants the machine for itself.
ALONE = ["alerting"]
MINUTES_MAX = float(os.environ.get("TIDEGATE_PROGRAM_MINUTES", "180"))
BUILD = ["cargo", "test", "--release", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]


def programs():
    """(name, path, folder of its crate) of each test program, built if it has to be."""
    built = subprocess.run(BUILD, stdout=subprocess.PIPE, text=True, check=True)
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"] and message["target"]["name"] not in ALONE:
            folder = pathlib.Path(message["manifest_path"]).parent
            yield message["target"]["name"], message["executable"], folder


def run(program, table, lock):
    """Runs one; whether it passed."""
    name, path, folder = program
    begun = time.monotonic()
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "CARGO_MANIFEST_DIR": str(folder)}
        command = [path, "--nocapture"]
        # A session of its own, so that what it started can be ended with it.
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            result = "FAILED" if process.wait(MINUTES_MAX * 60) else "passed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            result = "FAILED: it did not end"
        minutes = (time.monotonic() - begun) / 60
        said.seek(0)
        with lock:
            print(f"==> {name}", flush=True)
            for piece in iter(lambda: said.read(1 << 20), b""):
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            print(f"==> {name}: {minutes:.1f} minutes, {result} ({process.returncode})", flush=True)
            with open(table, "a") as rows:
                rows.write(f"| {name} | {result} | {minutes:.1f} |\n")
    return result == "passed"


def main():
    table, first = sys.argv[1], sys.argv[2:]
    last = len(first)
    ordered = sorted(programs(), key=lambda program: first.index(program[0]) if program[0] in first else last)
    lock = threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as lanes:
        passed = list(lanes.map(lambda program: run(program, table, lock), ordered))
    sys.exit(0 if all(passed) else 1)


main()

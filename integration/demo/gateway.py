"""A `tidegate` of the demo: its settings, its process, its commands."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

# How long a start, or a command, may take in seconds.
PATIENCE = 600
# How often a start is looked at, in seconds.
POLL = 0.05

_SETTINGS = """\
[gateway]
data = "{folder}/data"
socket = "{folder}/admin.sock"
memory = "{memory_mib}MiB"

[repository]
key = {{ file = "{key}" }}

[[target]]
name = "local"
address = "file://{repository}"

[nfs]
listen = ["127.0.0.1:{port}"]

# So that every head is there to be counted, as long as a copy takes.
[retention]
heads = ["2s for 30m"]
"""

_SHARE = """
[[share]]
name = "{name}"
rpo = "{rpo}"
squash = "none"
"""


class Gateway:
    """One gateway with a folder, a port and settings of its own."""

    def __init__(self, program, folder, repository, key, memory_mib):
        self._program = program
        self._folder = pathlib.Path(folder)
        self._log = self._folder.with_name(f"gateway-{self._folder.name}.log")
        self._process = None
        self.port = _free_port()
        self._folder.mkdir(parents=True)
        self._settings = self._folder / "tidegate.toml"
        self._settings.write_text(
            _SETTINGS.format(
                folder=folder, repository=repository, key=key, port=self.port, memory_mib=memory_mib
            )
        )

    def add_share(self, name, rpo):
        """Writes a share into the settings, before the start."""
        with self._settings.open("a") as file:
            file.write(_SHARE.format(name=name, rpo=rpo))

    def run(self, *command):
        """Runs a command; what it says as data. Its failure is ours, with what it said."""
        whole = [self._program, "--settings", self._settings, "--json", *command]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"tidegate {' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def start(self):
        """Starts `tidegate serve`; does not wait."""
        with self._log.open("ab") as log:
            whole = [self._program, "--settings", self._settings, "serve"]
            self._process = subprocess.Popen(whole, stdout=log, stderr=log)

    def wait_until_serving(self):
        """Waits until the NFS port answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.check_alive()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(POLL)
        raise RuntimeError(f"the gateway does not serve after {PATIENCE} s: see {self._log}")

    def check_alive(self):
        """Fails when the process has ended."""
        status = self._process.poll()
        if status is not None:
            raise RuntimeError(f"the gateway ended by itself ({status}): see {self._log}")

    def peak_memory(self):
        """The most that was ever resident, in bytes."""
        for line in pathlib.Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not say how much memory the gateway had")

    def kill(self):
        """`kill -9`: nothing is flushed, nobody is told."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        """Asks it to stop; whatever it does, it is gone afterwards. True when it stopped well."""
        if self._process is None or self._process.poll() is not None:
            return True
        self._process.terminate()
        try:
            return self._process.wait(timeout=60) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def url(self, share):
        """The share, for libnfs."""
        return f"nfs://127.0.0.1/{share}?nfsport={self.port}&mountport={self.port}"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def folder_bytes(folder):
    """The length of all files below a folder."""
    return sum(
        os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(folder) for name in names
    )

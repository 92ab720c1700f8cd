"""A gateway to look at: its settings, its process, what lies in its shares.

Files come in through its S3 door, signed with what Python has. The names of some of them are hostile.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import pathlib
import socket
import subprocess
import time
import urllib.parse

# How long a start, or a command, may take in seconds.
PATIENCE = 120
# How often a start is looked at, in seconds.
POLL = 0.05
# What a name may be, and a page must show as it is.
HOSTILE = '<img src=x onerror="window.pwned=1">.txt'
HOSTILE_FOLDER = "\"><svg onload=window.pwned=1>&amp;'"
KEY = ("console", "walks-through-every-page")
# The file that the walk puts back: what it held at the snapshot, and what it holds later.
RESTORED = ("reports/annual.txt", b"as it was\n" * 100, b"overwritten by mistake\n")

_SETTINGS = """\
[gateway]
data = "{folder}/data"
socket = "{folder}/admin.sock"
memory = "256MiB"

[repository]
key = {{ file = "{folder}/repository.key" }}

[[target]]
name = "main"
address = "file://{folder}/main"

[[target]]
name = "elsewhere"
address = "file://{folder}/elsewhere"

[nfs]
listen = ["127.0.0.1:{nfs}"]

[s3]
listen = ["127.0.0.1:{s3}"]

[[share]]
name = "files"
rpo = "2s"
quota = {{ bytes = {{ soft = "1MiB", hard = "10GiB" }}, grace = "7d" }}

[[share]]
name = "projects"
rpo = "30s"

[[bucket]]
name = "files"
share = "files"

[[bucket]]
name = "objects"

[[access_key]]
id = "{key}"
secret = {{ file = "{folder}/secret" }}
uid = 0
gid = 0

[[policy]]
name = "often"
shares = ["files"]
every = "1h"
keep_hourly = 24
keep_daily = 7

[[policy]]
name = "nightly"
shares = ["files", "projects"]
schedule = "30 2 * * *"
time_zone = "Europe/Berlin"
keep_daily = 7
keep_weekly = 5
keep_monthly = 12

[[source]]
name = "etc"
folder = "{folder}/outside"

[scrub]
every = "30d"

[runbook.practice]
about = "The files, from the repository alone"
rto = "2m"
[[runbook.practice.step]]
name = "attach"
action = "attach"
share = "files"
[[runbook.practice.step]]
name = "serve"
action = "serve"
after = ["attach"]
[[runbook.practice.step]]
name = "there"
action = "check-file"
share = "files"
path = "media/large.bin"
after = ["serve"]
"""


class Stage:
    """One gateway in a folder."""

    def __init__(self, program, folder):
        self._program = program
        self._process = None
        self.folder = pathlib.Path(folder)
        self._settings = self.folder / "tidegate.toml"
        self.socket = self.folder / "admin.sock"
        self.s3 = _free_port()
        for place in ("main", "elsewhere", "outside"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        (self.folder / "outside" / "hosts").write_text("127.0.0.1 localhost\n")
        secret = self.folder / "secret"
        secret.write_text(KEY[1] + "\n")
        secret.chmod(0o600)
        text = _SETTINGS.format(folder=self.folder, nfs=_free_port(), s3=self.s3, key=KEY[0])
        self._settings.write_text(text)

    def run(self, *command):
        """Runs a command of the program; what it says as data."""
        whole = [self._program, "--settings", self._settings, "--json", *command]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"tidegate {' '.join(command)} failed ({done.returncode}): {done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def start(self):
        """Makes the repository if need be, starts the gateway and waits until it answers."""
        if not (self.folder / "repository.key").exists():
            self.run("init")
        with (self.folder / "gateway.log").open("ab") as log:
            whole = [self._program, "--settings", self._settings, "serve"]
            self._process = subprocess.Popen(whole, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the gateway ended by itself: see {self.folder}/gateway.log")
            with socket.socket() as probe:
                if self.socket.exists() and probe.connect_ex(("127.0.0.1", self.s3)) == 0:
                    return
            time.sleep(POLL)
        raise RuntimeError(f"the gateway does not serve after {PATIENCE} s: see {self.folder}/gateway.log")

    def stop(self):
        """Asks it to stop; whatever it does, it is gone afterwards."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def put(self, key, body, bucket="files"):
        """Writes an object."""
        path = f"/{bucket}/{urllib.parse.quote(key)}"
        host = f"127.0.0.1:{self.s3}"
        connection = http.client.HTTPConnection(host, timeout=PATIENCE)
        connection.request("PUT", path, body, _signed("PUT", host, path, body))
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"PUT {path} was answered {answer.status}: {said[:300]}")

    def fill(self):
        """What the pages show: files, snapshots, jobs, and a file that was overwritten."""
        name, before, after = RESTORED
        self.put(name, before)
        self.put(f"reports/{HOSTILE}", b"harmless")
        self.put(f"{HOSTILE_FOLDER}/inside.txt", b"harmless too")
        self.put("reports/\u6c34\u95e8 \u2014 notes.txt", "\u6f6e\u6c50\n".encode())
        for number in range(260):
            self.put(f"many/file-{number:04}.bin", bytes(64 + number))
        self.put("media/large.bin", bytes(range(256)) * 8192)
        self.put("one", b"an object", bucket="objects")
        self.run("snapshot", "create", "files", "before-upgrade", "--tag", "ticket=4711")
        self.put(name, after)
        self.run("policy", "run", "often")
        self.run("source", "run", "etc")
        self.run("commit", "projects")


def _signed(method, host, path, body):
    """The headers of a request, by version 4 of AWS's signatures."""
    now = datetime.datetime.now(datetime.timezone.utc)
    time_text, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": time_text}
    names = ";".join(signed)
    lines = [method, path, "", *(f"{name}:{value}" for name, value in signed.items()), "", names, digest]
    scope = f"{day}/us-east-1/s3/aws4_request"
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{KEY[1]}".encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{time_text}\n{scope}\n{request}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{KEY[0]}/{scope}"
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

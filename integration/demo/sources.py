"""The trees that the demo copies: two versions of one tree, from the distribution or from a folder.

Debian and Ubuntu keep several versions of `linux-source-*` at once: real data with real edits. What is
fetched and unpacked stays in the cache, so a second run needs no network. A folder is asked for only
as `--dir`, or when no mirror answers; its second version is then an edit of the first, by a seed.
"""

import dataclasses
import os
import pathlib
import random
import re
import shutil
import subprocess

# Part of the files that a seeded edit changes.
EDITED_PART = 0.05
# What is copied when no mirror answers and no folder is named.
FALLBACK = pathlib.Path("/usr/share")


@dataclasses.dataclass
class Version:
    """A tree on the local disk, and what to call it."""

    name: str
    path: pathlib.Path


def choose(folder, cache, seed):
    """Two versions of a tree: of `folder` if one is named, else of the newest kernel source."""
    if folder:
        return _with_edit(pathlib.Path(folder).resolve(), cache, seed)
    try:
        package = _newest_package()
        versions = _versions(package)
        trees = [_unpacked(package, version, cache) for version in versions[:2]]
    except (subprocess.CalledProcessError, OSError, LookupError) as error:
        print(f"no kernel source from a package mirror ({error}): taking {FALLBACK}")
        return _with_edit(FALLBACK, cache, seed)
    if len(trees) == 1:
        return _with_edit(trees[0].path, cache, seed)
    return trees[::-1]


def _output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _newest_package():
    found = _output("apt-cache", "search", "--names-only", r"^linux-source-[0-9.]+$")
    names = [line.split()[0] for line in found.splitlines() if line.strip()]
    if not names:
        raise LookupError("no linux-source package is listed")
    return max(names, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _versions(package):
    """The versions that can be had, newest first."""
    rows = [line.split("|") for line in _output("apt-cache", "madison", package).splitlines()]
    versions = [row[1].strip() for row in rows if len(row) == 3 and not row[2].endswith("Sources")]
    if not versions:
        raise LookupError(f"no version of {package} can be had")
    return list(dict.fromkeys(versions))


def _unpacked(package, version, cache):
    """The source tree of a version of the package; fetched and unpacked once."""
    name = f"{package}_{version.replace(':', '_')}"
    tree = cache / "trees" / name
    if not tree.exists():
        print(f"fetching and unpacking {package} {version}")
        work = cache / "trees" / f"{name}.part"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        # Quiet: a warning about the sandbox of apt's own user says nothing here.
        subprocess.run(
            ["apt-get", "download", "-qq", f"{package}={version}"], cwd=work, check=True, stderr=subprocess.DEVNULL
        )
        (work / "deb").mkdir()
        subprocess.run(["dpkg", "-x", next(work.glob("*.deb")), work / "deb"], check=True)
        archive = next(path for path in work.rglob("linux-source-*.tar.*") if path.is_file())
        (work / "tree").mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", work / "tree", "--strip-components=1"], check=True)
        (work / "tree").rename(tree)
        shutil.rmtree(work)
    return Version(f"{package} {version}", tree)


def _with_edit(folder, cache, seed):
    """`folder`, and a copy of it in the cache that is edited by the seed."""
    edited = cache / "trees" / "edited"
    shutil.rmtree(edited, ignore_errors=True)
    edited.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", folder, edited], check=True)
    _edit(edited, random.Random(seed))
    return [Version(str(folder), folder), Version(f"{folder}, edited with seed {seed}", edited)]


def _edit(tree, chance):
    files = sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(tree)
        for name in names
        if os.path.isfile(os.path.join(where, name)) and not os.path.islink(os.path.join(where, name))
    )
    for path in chance.sample(files, int(len(files) * EDITED_PART)):
        how = chance.choice(["append", "overwrite", "insert", "rename", "remove"])
        if how == "rename":
            os.rename(path, path + ".renamed")
        elif how == "remove":
            os.remove(path)
        else:
            _edit_file(path, how, chance)


def _edit_file(path, how, chance):
    with open(path, "r+b") as file:
        content = file.read()
        at = len(content) if how == "append" else chance.randrange(len(content) + 1)
        new = chance.randbytes(chance.randrange(1, 2000))
        rest = content[at + len(new):] if how == "overwrite" else content[at:]
        file.seek(at)
        file.write(new + rest)

"""What must come back: made from the source tree and the client's log, never from the product.

A manifest maps a path to an `Entry`. Paths and targets are escaped as nfswalk.c does it.
"""

import collections
import concurrent.futures
import hashlib
import os
import stat
import typing

# Most differences that are told one by one.
TOLD_MAX = 20
_BLOCK_BYTES = 1 << 20
_TYPES = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFBLK: "b",
    stat.S_IFCHR: "c", stat.S_IFIFO: "p", stat.S_IFSOCK: "s",
}


class Entry(typing.NamedTuple):
    """What is known of a path. `content` is a SHA-256, the target of a link, or a dash."""

    type: str
    mode: str
    uid: int
    gid: int
    mtime_us: int
    size: int
    links: int
    content: str


def escaped(name):
    """As nfswalk writes bytes."""
    return "".join(chr(byte) if 0x20 < byte < 0x7F and byte != 0x25 else f"%{byte:02X}" for byte in name)


def of_tree(root):
    """The manifest of a tree on the local disk. Links are counted inside the tree only."""
    paths = [b""]
    for where, folders, files in os.walk(os.fsencode(root), onerror=_refuse):
        below = os.path.relpath(where, os.fsencode(root))
        paths += [os.path.normpath(os.path.join(below, name)) for name in folders + files]
    found = {path: os.lstat(os.path.join(os.fsencode(root), path)) for path in paths}
    names = collections.Counter((st.st_dev, st.st_ino) for st in found.values())
    folders = collections.Counter(
        os.path.dirname(path) for path, st in found.items() if path and stat.S_ISDIR(st.st_mode)
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        contents = pool.map(lambda path: _content(os.path.join(os.fsencode(root), path), found[path]), paths)
        pairs = list(zip(paths, contents, strict=True))
    return {
        escaped(path): _entry(found[path], content, _links(path, found[path], names, folders))
        for path, content in pairs
    }


def _refuse(error):
    raise error


def _links(path, st, names, folders):
    return 2 + folders[path] if stat.S_ISDIR(st.st_mode) else names[(st.st_dev, st.st_ino)]


def _entry(st, content, links):
    regular = stat.S_ISREG(st.st_mode)
    return Entry(
        _TYPES[stat.S_IFMT(st.st_mode)], f"{stat.S_IMODE(st.st_mode):o}", st.st_uid, st.st_gid,
        st.st_mtime_ns // 1000, st.st_size if regular else 0, links, content,
    )


def _content(path, st):
    if stat.S_ISLNK(st.st_mode):
        return escaped(os.readlink(path))
    if not stat.S_ISREG(st.st_mode):
        return "-"
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def of_listing(lines):
    """The manifest that `nfswalk read` printed."""
    found = {}
    for line in lines:
        path, kind, mode, uid, gid, mtime, size, links, content = line.rstrip("\n").split("\t")
        found[path] = Entry(kind, mode, int(uid), int(gid), int(mtime), int(size), int(links), content)
    return found


def below(prefix, manifest):
    """The same manifest, one folder deeper."""
    return {f"{prefix}/{path}" if path else prefix: entry for path, entry in manifest.items()}


def acknowledged(lines, before_ns):
    """The paths that `nfswalk put` logged before a moment. A line cut short by a kill says nothing."""
    whole = (line.rstrip("\n").split("\t") for line in lines if line.endswith("\n"))
    return {path for moment, path in whole if int(moment) < before_ns}


def differences(expected, found, complete):
    """What differs, as lines. In a `complete` tree nothing may be there besides; in another one, whose
    copy was cut short, later names of a file may be missing yet."""
    told = []
    for path, entry in expected.items():
        got = found.get(path)
        if got is None:
            told.append(f"{path}: missing")
        elif got != entry and (complete or got._replace(links=entry.links) != entry or got.links > entry.links):
            told.append(f"{path}: expected {entry}, got {got}")
    if complete:
        told += [f"{path}: nobody wrote it" for path in found.keys() - expected.keys()]
    return told

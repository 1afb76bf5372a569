# SPDX-License-Identifier: Apache-2.0
"""
What a mirrored folder must look like: a pure function of the keys, written from the promise and not
from the program. Also reading a folder, and values that tell whether they are whole.
"""

import hashlib
import os
import stat

from . import wait

PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+,=@:~ ")
NAME_MAX = 255
KEY_MAX = 4096
OWN = b".etchlet"


def encode(component, is_first):
    """A component of a key as a file name."""
    if component == b"":
        return b"%"
    if component == b".":
        return b"%2E"
    if component == b"..":
        return b"%2E%2E"
    name = b"".join(bytes([b]) if b in PLAIN else b"%%%02X" % b for b in component)
    return b"%2Eetchlet" if is_first and name == OWN else name


def components(watch_key, key):
    """The names of a key below a watch's folder, or None when one is too long."""
    rest = key[watch_key.rfind(b"/") + 1 :]
    names = [encode(part, i == 0) for i, part in enumerate(rest.split(b"/"))]
    return None if any(len(name) > NAME_MAX for name in names) else tuple(names)


class Strange(AssertionError):
    """Something that is neither a file nor a folder."""


class Tree:
    """Files as {path: content}, folders as {path}; paths are bytes, relative to the folder."""

    def __init__(self, files, folders):
        self.files = files
        self.folders = folders

    def __eq__(self, other):
        return self.files == other.files and self.folders == other.folders

    def difference(self, wanted):
        """What is wrong with this one, in words, or nothing."""
        lines = []
        for what, mine, theirs in (("file", set(self.files), set(wanted.files)),
                                   ("folder", self.folders, wanted.folders)):
            lines += [f"{what} too much: {_show(p)}" for p in sorted(mine - theirs)]
            lines += [f"{what} missing: {_show(p)}" for p in sorted(theirs - mine)]
        for path in sorted(set(self.files) & set(wanted.files)):
            if self.files[path] != wanted.files[path]:
                lines.append(f"content of {_show(path)}: {_cut(self.files[path])}, "
                             f"not {_cut(wanted.files[path])}")
        return lines[:20] + ([f"and {len(lines) - 20} more"] if len(lines) > 20 else [])


def _show(path):
    return repr(path if len(path) < 120 else path[:120] + b"...")


def _cut(data):
    return f"{data[:40]!r} ({len(data)} bytes)"


def tree(watch_key, pairs, max_value=16 << 20):
    """The tree for a watch's key and the keys in its range with their values."""
    mapped = {}
    for key, value in pairs.items():
        names = components(watch_key, key)
        if names is not None and len(value) <= max_value and len(key) <= KEY_MAX:
            mapped[names] = value
    folders = {names[:i] for names in mapped for i in range(1, len(names))}
    files = {}
    for names, value in mapped.items():
        path = names + (b"%%",) if names in folders else names
        files[b"/".join(path)] = value
    return Tree(files, {b"/".join(f) for f in folders})


def read(folder):
    """The tree that is there. A link or a device in it is a fault; the agent's own folder is left out."""
    folder = os.fsencode(folder)
    files, folders = {}, set()
    waiting = [b""]
    while waiting:
        at = waiting.pop()
        for entry in os.scandir(os.path.join(folder, at) if at else folder):
            path = at + b"/" + entry.name if at else entry.name
            if path == OWN:
                continue
            kind = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                folders.add(path)
                waiting.append(path)
            else:
                if not stat.S_ISREG(kind):
                    raise Strange(f"{path!r} is neither a file nor a folder")
                with open(entry.path, "rb") as f:
                    files[path] = f.read()
    return Tree(files, folders)


def wait_equal(folder, wanted, timeout_s=15.0, alive=None):
    """Waits until the folder holds the wanted tree; alive: an agent that must not end meanwhile."""
    last = ["nothing was read"]

    def is_equal():
        if alive is not None and not alive.is_running:
            raise AssertionError(f"the agent ended: {alive.tail()}")
        try:
            last[:] = read(folder).difference(wanted)
        except (FileNotFoundError, NotADirectoryError, Strange) as error:  # it is changing
            last[:] = [repr(error)]
        return not last

    try:
        wait.until(is_equal, timeout_s, "the folder equals the keys", 0.03)
    except wait.Timeout:
        more = f"\nstandard error: {alive.tail()}" if alive is not None else ""
        raise wait.Timeout(f"the folder is not what the keys say after {timeout_s} s:\n  "
                           + "\n  ".join(last) + more) from None


def inodes(folder):
    """{path: (inode, mtime, ctime)} of every file."""
    out = {}
    for path in read(folder).files:
        at = os.lstat(os.path.join(os.fsencode(folder), path))
        out[path] = (at.st_ino, at.st_mtime_ns, at.st_ctime_ns)
    return out


def value(body):
    """A value that says of itself whether it is whole."""
    return b"%d:%s:" % (len(body), hashlib.sha256(body).hexdigest().encode()) + body


def is_whole(data):
    parts = data.split(b":", 2)
    return (len(parts) == 3 and parts[0] == b"%d" % len(parts[2])
            and parts[1] == hashlib.sha256(parts[2]).hexdigest().encode())


# A program of its own, so that it runs on another processor: reads the folder over and over until its
# standard input ends, then prints how many files it read and what was not whole.
READER = r"""
import hashlib, os, select, sys
folder, count, bad = os.fsencode(sys.argv[1]), 0, []
def whole(d):
    p = d.split(b":", 2)
    return (len(p) == 3 and p[0] == b"%d" % len(p[2])
            and p[1] == hashlib.sha256(p[2]).hexdigest().encode())
print("reading", flush=True)
while not select.select([0], [], [], 0)[0]:
    for at, folders, names in os.walk(folder):
        if at == folder and b".etchlet" in folders:
            folders.remove(b".etchlet")
        for name in names:
            try:
                with open(os.path.join(at, name), "rb") as f:
                    data = f.read()
            except OSError:
                continue
            count += 1
            if not whole(data):
                bad.append("%r: %r (%d bytes)" % (os.path.join(at, name), data[:60], len(data)))
print(count)
print("\n".join(bad[:20]))
"""

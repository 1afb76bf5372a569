# SPDX-License-Identifier: Apache-2.0
"""
A kill and an error at every system call of what a mirror does: a file is old or new and whole, a saved
position covers nothing that is not there, and afterwards all becomes what the keys say.
"""

import errno
import os
import re
import time

import pytest

from harness import mirror_model, strace, wait
from harness.mirror_model import tree, value
from harness.run_agent import pairs_of

ROOT = b"/m/"

# Where an agent may be killed or be given an error: not at what only reads, except when it decides.
KILL_AT = ("openat", "write", "writev", "pwrite64", "fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2",
           "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fchmod", "fchmodat", "fchown",
           "fchownat", "ftruncate", "fallocate", "chmod", "symlinkat", "close")
FAIL_AT = tuple(c for c in KILL_AT if c != "close") + ("newfstatat", "fstat", "getdents64", "flock")

WRITES = ("write", "writev", "pwrite64", "pwritev")
CHANGES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "linkat")
# name, words, result: a line of strace.
CALL = re.compile(r"(?:\d+ +)?([a-z0-9_]+)\((.*)\) += (-?\d+)")


@pytest.fixture(autouse=True)
def can_trace():
    why = strace.why_not()
    if why is not None:
        pytest.skip(f"strace cannot trace even `true` here: {why}")


class Scene:
    """A mirror with some keys, and a transaction that changes it in every way there is."""

    def __init__(self, runner, etcd, folder):
        self.runner = runner
        self.etcd = etcd
        self.folder = folder
        self.serial = 0
        self.agent = None

    def configure(self, **options):
        self.runner.configure(self.etcd, *self.watches(), **{
            "probe_interval": "60s", "idle_after": "600s", "state_interval": "1ms", "backoff_min": "5ms",
            "backoff_max": "50ms", **options})

    def watches(self):
        from harness.config import Watch
        return [Watch("w", ROOT, mirror=self.folder, mirror_mode="0640")]

    def old(self):
        """The keys before a change, in one revision; the same ones each time but for the values."""
        self.serial += 1
        mark = b"%d " % self.serial
        keys = {b"k": value(mark + b"k" * 3000), b"dir/a": value(mark), b"dir/b": value(b"constant"),
                b"alone/x": value(mark), b"file": value(mark)}
        return {ROOT + k: v for k, v in keys.items()}

    def new(self, old):
        """The change: written anew, made in a new folder, removed with its folder, file to folder."""
        mark = b"%d new " % self.serial
        new = dict(old)
        new[ROOT + b"k"] = value(mark + b"K" * 20_000)
        new[ROOT + b"fresh/deep/y"] = value(mark)
        del new[ROOT + b"alone/x"]
        new[ROOT + b"file/under"] = value(mark)
        return new

    def put(self, before, after):
        ops = [("put", k, v) for k, v in after.items() if before.get(k) != v]
        ops += [("delete", k) for k in before if k not in after]
        return self.etcd.client.txn(ops)

    def start(self):
        self.agent = self.runner.start()
        return self.agent

    def wait_tree(self, pairs, timeout_s=10):
        mirror_model.wait_equal(self.folder, tree(ROOT, pairs), timeout_s, self.agent)

    def check_between(self, old, new, what):
        """Every file is as it was or as it is to be; nothing else is there."""
        before, after = tree(ROOT, old), tree(ROOT, new)
        for path, data in mirror_model.read(self.folder).files.items():
            allowed = [t.files[path] for t in (before, after) if path in t.files]
            # A file under way between its two names, as a file and as a folder's own.
            assert allowed, f"{what}: {path!r} is in neither tree"
            assert data in allowed, f"{what}: {path!r} is mixed ({len(data)} bytes)"


@pytest.fixture
def scene(runner, servers, memory_dir):
    etcd = servers.etcd()
    return Scene(runner, etcd, os.path.join(memory_dir, "m"))


def plan(calls, names, most_each):
    """(call, n) for each of the calls that were counted; spread evenly where there are very many."""
    cases = []
    for name in names:
        count = calls.get(name, 0)
        step = max(1, -(-count // most_each))
        cases += [(name, n) for n in range(1, count + 1, step)]
    return cases


from harness.folders import memory_dir  # noqa: E402,F401 (a fixture)


@pytest.mark.parametrize("durability", ["normal", "relaxed"])
def test_kill_at_every_call_of_a_change(scene, runner, tmp_path, durability):
    scene.configure(durability=durability)
    keys = {}
    agent = scene.start()
    agent.wait_synced()
    old = scene.old()
    scene.wait_saved = None
    revision = scene.put(keys, old)
    scene.wait_tree(old)
    runner.wait_saved("w", revision)
    new = scene.new(old)
    with strace.count(agent.process.pid, str(tmp_path / "trace")) as calls:
        revision = scene.put(old, new)
        scene.wait_tree(new)
        runner.wait_saved("w", revision)
    keys = new
    cases = plan(calls, KILL_AT, 12 if durability == "normal" else 5)
    assert len(cases) >= 15, f"hardly any calls were seen: {calls}"
    deadline, done = time.monotonic() + (30 if durability == "normal" else 14), 0
    for call, n in cases:
        if time.monotonic() > deadline:
            break
        what = f"SIGKILL at {call} number {n}"
        old = scene.old()
        revision = scene.put(keys, old)
        scene.wait_tree(old)
        runner.wait_saved("w", revision)
        new = scene.new(old)
        tracer = strace.Tracer(agent.process.pid, f"trace={call}", f"inject={call}:signal=KILL:when={n}")
        try:
            revision = scene.put(old, new)
            wait.until(lambda: not agent.is_running or _is_done(scene, new, revision), 10, what)
        finally:
            tracer.close()
        if agent.is_running:  # the call came less often this time
            agent.kill()
        agent.wait_exit()
        scene.check_between(old, new, what)
        if runner.positions().get("w", 0) >= revision:
            assert mirror_model.read(scene.folder) == tree(ROOT, new), f"{what}: the position is ahead of the folder"
        agent = scene.start()
        scene.wait_tree(new)
        keys = new
        done += 1
    print(f"{done} of {len(cases)} cases; calls of one change: {calls}")
    assert done >= min(len(cases), 25), f"only {done} of {len(cases)} cases in the time there is"


def _is_done(scene, new, revision):
    try:
        return mirror_model.read(scene.folder) == tree(ROOT, new) and \
            scene.runner.positions().get("w", 0) >= revision
    except (FileNotFoundError, NotADirectoryError):
        return False


def calls_of(log):
    """(name, words, result) of each call that succeeded."""
    with open(log, errors="replace") as f:
        found = [m.groups() for m in map(CALL.match, f) if m]
    return [(name, words, int(result)) for name, words, result in found if int(result) >= 0]


def test_order_where_nothing_can_be_exchanged(scene, runner, tmp_path):
    """As on JFFS2: while a file is between its two names no record on storage vouches for the folder."""
    scene.configure()
    agent = scene.start()
    agent.wait_synced()
    old = scene.old()
    revision = scene.put({}, old)
    scene.wait_tree(old)
    runner.wait_saved("w", revision)
    new, log = scene.new(old), str(tmp_path / "trace")
    with strace.count(agent.process.pid, log, "inject=renameat2:error=EINVAL"):
        revision = scene.put(old, new)
        scene.wait_tree(new)
        runner.wait_saved("w", revision)
    doubted = vouched = 0
    is_doubt_lasting = is_moved = False
    fresh, is_whole = None, False
    for name, words, result in calls_of(log):
        at = words.split(",")[0]
        if name == "unlinkat" and '"identity"' in words:
            is_doubt_lasting, doubted = False, doubted + 1
        elif name == "fsync":
            is_doubt_lasting = True
        elif name == "syncfs":
            is_moved = False
        elif name == "openat" and '"identity.new"' in words:
            fresh, is_whole = str(result), False
        elif name == "fdatasync" and at == fresh:
            is_whole = True
        elif name == "renameat" and '"identity.new"' in words:
            assert not is_moved, "it vouches for what may not be on storage"
            assert is_whole, "its bytes may not be on storage"
            vouched += 1
        elif name == "renameat" and '"swap"' in words:
            assert is_doubt_lasting, "the old record may still be on storage"
            is_moved = True
    assert doubted == 1 and vouched >= 1, calls_of(log)


@pytest.mark.parametrize("durability", ["normal", "relaxed"])
def test_order_of_what_makes_a_change_last(scene, runner, tmp_path, durability):
    """A power cut cannot be made here: so it is looked at what is on storage before what."""
    scene.configure(durability=durability)
    agent = scene.start()
    agent.wait_synced()
    old = scene.old()
    revision = scene.put({}, old)
    scene.wait_tree(old)
    runner.wait_saved("w", revision)
    state = next(n for n, path in agent.fds().items() if path == runner.state)
    new = scene.new(old)
    log = str(tmp_path / "trace")
    with strace.count(agent.process.pid, log):
        revision = scene.put(old, new)
        scene.wait_tree(new)
        runner.wait_saved("w", revision)
    calls = calls_of(log)
    placed = synced = saved = 0
    fresh, is_whole, has_mode, is_lasting = None, False, False, True
    for name, words, result in calls:
        at = int(words.split(",")[0]) if words.split(",")[0].isdigit() else None
        if name == "openat" and '"new"' in words:
            fresh, is_whole, has_mode = result, True, False
        elif name in WRITES and at == fresh:
            is_whole = False
        elif name == "fchmod" and at == fresh:
            has_mode = "0640" in words
        elif name in ("fsync", "fdatasync") and at == fresh:
            is_whole = True
        elif name == "renameat" and '"new"' in words:
            placed += 1
            assert has_mode, f"{words}: in its place before it has its mode"
            assert is_whole == (durability == "normal"), f"{words}: in its place, its bytes not on storage"
            fresh = None
        elif name == "syncfs":
            synced += 1
            is_lasting = True
        elif name in WRITES and at == state:
            saved += 1
            assert is_lasting == (durability == "normal"), "the position is saved, what it covers is not on storage"
        if name in CHANGES:
            is_lasting = False
    assert placed >= 3 and saved >= 1, f"hardly any calls were seen: {calls}"
    assert (synced > 0) == (durability == "normal")


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_error_at_every_call_of_a_change(scene, runner, tmp_path, error):
    scene.configure(durability="normal")
    agent = scene.start()
    agent.wait_synced()
    old = scene.old()
    scene.put({}, old)
    scene.wait_tree(old)
    new = scene.new(old)
    with strace.count(agent.process.pid, str(tmp_path / "trace")) as calls:
        revision = scene.put(old, new)
        scene.wait_tree(new)
        runner.wait_saved("w", revision)
    cases = plan(calls, FAIL_AT, 12)
    assert len(cases) >= 15, f"hardly any calls were seen: {calls}"
    # An error of the state file itself is tried again after a while only: those come last.
    slow = [c for c in cases if c[0] == "syncfs" or c == ("pwrite64", calls.get("pwrite64"))]
    cases = [c for c in cases if c not in slow] + (slow if error == "EIO" else [])
    keys, deadline, done = new, time.monotonic() + 15, 0
    for call, n in cases:
        if time.monotonic() > deadline:
            break
        what = f"{error} at {call} number {n}"
        old = scene.old()
        revision = scene.put(keys, old)
        scene.wait_tree(old)
        runner.wait_saved("w", revision)
        new = scene.new(old)
        tracer = strace.Tracer(agent.process.pid, f"trace={call}", f"inject={call}:error={error}:when={n}")
        try:
            revision = scene.put(old, new)
            try:
                scene.wait_tree(new, 10)
                runner.wait_saved("w", revision, 12)
            except (AssertionError, OSError) as problem:
                raise AssertionError(f"{what}: {problem}") from None
        finally:
            tracer.close()
        assert agent.is_running, f"{what}: {agent.tail()}"
        keys = new
        done += 1
    print(f"{done} of {len(cases)} cases; calls of one change: {calls}")
    assert done >= min(len(cases), 25), f"only {done} of {len(cases)} cases in the time there is"
    assert agent.watch("w")["sink_errors"] > 0, "no error has reached the mirror"


def test_error_that_stays_keeps_what_is_there(scene, runner):
    """Not once but always: nothing is lost, nothing is mixed, nothing is hammered; then it goes on."""
    scene.configure(durability="normal", backoff_min="50ms", backoff_max="200ms")
    agent = scene.start()
    agent.wait_synced()
    keys = {}
    for call, error in (("fsync", "EIO"), ("fdatasync", "EIO"), ("write", "ENOSPC"), ("pwrite64", "ENOSPC"),
                        ("renameat", "EIO"), ("renameat2", "EIO"), ("rename", "EIO"), ("mkdirat", "ENOSPC"),
                        ("unlinkat", "EIO"), ("fchmod", "EPERM"), ("syncfs", "EIO")):
        old = scene.old()
        scene.put(keys, old)
        scene.wait_tree(old)
        new = scene.new(old)
        # The log is written too: only what concerns files of the folder or the state would be exact.
        tracer = strace.Tracer(agent.process.pid, f"trace={call}", f"inject={call}:error={error}:when=1+")
        cpu = agent.cpu_s()
        try:
            revision = scene.put(old, new)
            wait.holds_for(lambda: agent.is_running, 0.6, f"the agent lives with {error} at every {call}")
        finally:
            tracer.close()
        assert agent.cpu_s() - cpu < 0.5, f"it hammers at {call}"
        scene.check_between(old, new, f"{error} at every {call}")
        scene.wait_tree(new)
        agent.wait_position("w", revision)
        keys = new


def test_kill_at_calls_of_a_full_synchronisation(scene, runner, tmp_path):
    """From the start of the program: the folder made, everything listed, what is gone removed."""
    keys = scene.old()
    keys.update({ROOT + b"many/%02d" % i: value(b"%d" % i) for i in range(12)})
    scene.put({}, keys)
    scene.configure(durability="normal", state_interval="10ms")
    assert runner.once().returncode == 0
    assert mirror_model.read(scene.folder) == tree(ROOT, keys)

    def changed():
        """Another state of the keys, and no position: a full synchronisation is due."""
        after = scene.old()
        after.update({ROOT + b"many/%02d" % i: value(b"%d" % i) for i in range(0, 12, 2)})
        after[ROOT + b"only-%d/now" % scene.serial] = value(b"now")
        scene.put(keys, after)
        os.unlink(runner.state)
        return after

    # What looks for leaks at the end of a program does not work under a tracer.
    options = runner.etchlet.env.get("ASAN_OPTIONS", "")
    env = {"ASAN_OPTIONS": (options + ":" if options else "") + "detect_leaks=0"}
    log = str(tmp_path / "trace")
    new = changed()
    agent = runner.start(words=["--once"], env=env, prefix=["strace", "-o", log, "-e", "trace=" + ",".join(
        "?" + c for c in strace.CALLS)])
    assert agent.wait_exit(20) == 0
    assert mirror_model.read(scene.folder) == tree(ROOT, new)
    calls = strace.count_log(log)
    keys = new
    cases = plan(calls, KILL_AT, 9)
    assert len(cases) >= 20, f"hardly any calls were seen: {calls}"
    deadline, done, killed = time.monotonic() + 25, 0, 0
    for call, n in cases:
        if time.monotonic() > deadline:
            break
        what = f"SIGKILL at {call} number {n}"
        new = changed()
        agent = runner.start(words=["--once"], env=env, prefix=[
            "strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={n}"])
        status = agent.wait_exit(20)
        killed += status != 0
        scene.check_between(keys, new, what)
        done_once = runner.once()
        assert done_once.returncode == 0, (what, done_once.stderr)
        assert not mirror_model.read(scene.folder).difference(tree(ROOT, new)), what
        keys = new
        done += 1
    print(f"{done} of {len(cases)} cases; calls: {calls}")
    assert killed >= 10 and done >= min(len(cases), 25)


def test_kill_at_calls_of_a_print_file_and_its_position(scene, runner, tmp_path):
    """Lines are there before the position that covers them, and none is torn."""
    from harness.agent import parse
    from harness.config import Watch
    path = str(tmp_path / "lines")
    scene.watches = lambda: [Watch("w", ROOT, print=path)]
    scene.configure(durability="normal")
    agent = scene.start()
    agent.wait_synced()
    runner.wait_saved("w", 1)
    wanted = []
    for call, n in [(c, n) for c in ("write", "writev", "pwrite64", "fsync", "fdatasync") for n in (1, 2, 3, 5)]:
        tracer = strace.Tracer(agent.process.pid, f"trace={call}", f"inject={call}:signal=KILL:when={n}")
        try:
            for i in range(3):
                wanted.append(scene.etcd.client.put(ROOT + b"%d" % i, b"\xfe" * 9000))
            wait.until(lambda: not agent.is_running or runner.positions().get("w", 0) >= wanted[-1], 10,
                       f"{call} {n}")
        finally:
            tracer.close()
        if agent.is_running:
            agent.kill()
        agent.wait_exit()
        with open(path, "rb") as f:
            whole = [parse(line) for line in f.read().split(b"\n")[:-1]]
        seen = {e["mod_revision"] for e in whole if "mod_revision" in e}
        covered = runner.positions()["w"]
        assert {r for r in wanted if r <= covered} <= seen, f"{call} {n}: the position is ahead of the lines"
        agent = scene.start()
        agent.wait_position("w", wanted[-1])
    with open(path, "rb") as f:
        order = []
        for line in f.read().split(b"\n")[:-1]:
            event = parse(line)
            if event["type"] == "put" and event["mod_revision"] not in order:
                order.append(event["mod_revision"])
    assert order == wanted


def test_an_injected_error_is_an_error(tmp_path):
    """The tool itself: without it these tests would pass whatever the agent did."""
    import subprocess
    done = subprocess.run(["strace", "-o", "/dev/null", "-e", "trace=mkdir,mkdirat", "-e",
                           "inject=mkdir,mkdirat:error=ENOSPC", "mkdir", str(tmp_path / "x")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode != 0 and os.strerror(errno.ENOSPC).encode() in done.stdout

# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: what a changed configuration file does to the agent that runs, and what it leaves alone."""

import json
import os
import re
import shutil
import signal
import time

import pytest

from harness import wait
from test_run_start import PRINT, file_for, lines_of, run, text_of_watch  # noqa: F401


class Output:
    """A file that a watch prints to."""

    def __init__(self, path):
        self.path = str(path)

    @property
    def line(self):
        return f"print = {self.path}"

    def events(self):
        if not os.path.exists(self.path):
            return []
        with open(self.path) as f:
            return [json.loads(l) for l in f.read().splitlines()]

    def keys(self):
        return [e["key"] for e in self.events() if "key" in e]

    def types(self):
        return [e["type"] for e in self.events()]

    def wait_key(self, key):
        wait.until(lambda: key in self.keys(), 10, f"{key} in {self.path}")


@pytest.fixture
def outputs(tmp_path):
    return lambda name: Output(tmp_path / f"out-{name}")


def reload(agent, pattern="reload: [0-9]+ watch"):
    """SIGHUP, and the line that says what became of it."""
    before = len(agent.stderr())
    compiled = re.compile(pattern.encode())
    agent.send_signal(signal.SIGHUP)
    found = agent.err.wait_for(lambda d: compiled.search(d, before), 10, f"a line with {pattern!r}")
    wait.until(lambda: b"\n" in agent.stderr()[found.start():], 5)
    start = agent.stderr().rfind(b"\n", 0, found.start()) + 1
    return agent.stderr()[start:].split(b"\n")[0].decode()


def synchronised(agent, count):
    wait.until(lambda: len(re.findall(rb"synchronised \(\w+\), position", agent.stderr())) >= count, 10,
               f"{count} watches synchronised")


# A file that is wrong.


@pytest.mark.parametrize("mistake, word", [
    ("[watch b]\nkey = /b\nfrob = 1\n", "'frob' is not known here"),
    ("[watch b]\nkey = /b\n", "'b' has no mirror, exec, print, post or fetch"),
    ("[watch a]\nkey = /b\nprint = -\n", "'a' is given twice"),
    ("[watch b]\nkey = /b\nmirror = {folder}/full\n", "{folder}/full"),
    ("[watch b]\nkey = /b\nmirror = {folder}/m\nmirror-owner = no-such-user\n", "'no-such-user'"),
    ("[watch b]\nkey = /b\nprint = {folder}/nope\nexec = \"x\n", "lacks a closing quote"),
], ids=["word", "no-sink", "twice", "foreign-mirror", "owner", "quote"])
def test_bad_file_changes_nothing(etchlet, file_for, etcd35, outputs, tmp_path, prefix, mistake, word):
    file, out = file_for(etcd35), outputs("a")
    os.mkdir(tmp_path / "full")
    (tmp_path / "full" / "mine").write_text("x")
    file.write(text_of_watch("a", prefix, out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    file.write(text_of_watch("a", prefix + "other", out.line), mistake.format(folder=tmp_path),
               head=["log-level = error"])
    told = reload(agent, "reload: ")
    assert word.format(folder=tmp_path) in told and file.path + ":" in told
    assert told.startswith("etchlet: error") and told.endswith("nothing changes")
    etcd35.client.put(prefix + "x", b"1")
    out.wait_key(prefix + "x")
    assert out.types() == ["sync", "synced", "put"]
    assert sorted(os.listdir(tmp_path / "full")) == ["mine"] and not os.path.exists(tmp_path / "m")
    assert [w["name"] for w in file.status(etchlet)["watches"]] == ["a"]
    # A good one after it is taken.
    file.write(text_of_watch("a", prefix, out.line), text_of_watch("b", prefix, *PRINT))
    assert "2 watches: 1 new, 0 changed, 0 gone" in reload(agent)
    agent.wait_key(prefix + "x")
    agent.stop()


def test_missing_file_changes_nothing(etchlet, file_for, etcd35, outputs, prefix):
    file, out = file_for(etcd35), outputs("a")
    file.write(text_of_watch("a", prefix, out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    os.rename(file.path, file.path + ".away")
    assert "cannot be read" in reload(agent, "reload: ")
    os.rename(file.path + ".away", file.path)
    etcd35.client.put(prefix + "x", b"1")
    out.wait_key(prefix + "x")
    agent.stop()


def test_bad_certificate_changes_nothing(etchlet, file_for, servers, pki, tmp_path, outputs, prefix):
    server = servers.etcd(tls=pki.good)
    file, out = file_for(server), outputs("a")
    ca = tmp_path / "ca.pem"
    shutil.copy(pki.root.cert, ca)
    file.write(text_of_watch("a", prefix, out.line), head=[f"cacert = {ca}"])
    agent = run(etchlet, file)
    synchronised(agent, 1)
    ca.write_text("no certificate")
    file.write(text_of_watch("b", prefix, out.line), head=[f"cacert = {ca}"])
    told = reload(agent, "reload: ")
    assert f"{file.path}:9: cacert: {ca}: " in told
    assert [w["name"] for w in file.status(etchlet)["watches"]] == ["a"]
    shutil.copy(pki.root.cert, ca)
    assert "1 watch: 1 new, 0 changed, 1 gone" in reload(agent)
    agent.stop()


# Watches.


def test_what_did_not_change_is_not_touched(etchlet, file_for, servers, outputs):
    fake = servers.fake()
    file, a, b = file_for(fake), outputs("a"), outputs("b")
    file.write(text_of_watch("a", "/a/", a.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    fake.wait_watches(1)
    wait.until(lambda: fake.watches[0].is_live, 5)
    # Another line, another order: the same watch.
    file.write(text_of_watch("b", "/b/", b.line), text_of_watch("a", "/a/", a.line),
               head=["# a comment", "log-level = debug"])
    assert "2 watches: 1 new, 0 changed, 0 gone" in reload(agent)
    synchronised(agent, 2)
    fake.wait_watches(2)
    fake.put(b"/a/x", b"1")
    fake.put(b"/b/x", b"1")
    a.wait_key("/a/x")
    b.wait_key("/b/x")
    assert len(fake.watches) == 2, "the first one was not created anew"
    assert fake.watches[0].is_open and len(fake.connections) == 1
    assert a.types() == ["sync", "synced", "put"] and b.types() == ["sync", "synced", "put"]
    assert [w["name"] for w in file.status(etchlet)["watches"]] == ["b", "a"]
    agent.stop()


def test_changed_watch_goes_on_at_its_position(etchlet, file_for, etcd35, outputs, prefix):
    file, old, new, other = file_for(etcd35), outputs("old"), outputs("new"), outputs("other")
    file.write(text_of_watch("a", prefix + "a/", old.line), text_of_watch("b", prefix + "b/", other.line))
    agent = run(etchlet, file)
    synchronised(agent, 2)
    etcd35.client.put(prefix + "a/1", b"1")
    old.wait_key(prefix + "a/1")
    file.write(text_of_watch("a", prefix + "a/", new.line), text_of_watch("b", prefix + "b/", other.line))
    assert "2 watches: 0 new, 1 changed, 0 gone" in reload(agent)
    etcd35.client.put(prefix + "a/2", b"1")
    etcd35.client.put(prefix + "b/2", b"1")
    new.wait_key(prefix + "a/2")
    other.wait_key(prefix + "b/2")
    assert new.keys() == [prefix + "a/2"] and "sync" not in new.types()
    assert old.keys() == [prefix + "a/1"]
    assert other.types() == ["sync", "synced", "put"]
    agent.stop()


def test_other_key_under_the_same_name_is_listed(etchlet, file_for, etcd35, outputs, prefix):
    file, out = file_for(etcd35), outputs("a")
    etcd35.client.put(prefix + "n/x", b"1")
    file.write(text_of_watch("a", prefix + "o/", out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    file.write(text_of_watch("a", prefix + "n/", out.line))
    reload(agent)
    out.wait_key(prefix + "n/x")
    assert out.types() == ["sync", "synced", "sync", "put", "synced"]
    agent.stop()


def test_device_id_from_a_file(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    file, mine, all_ = file_for(etcd35), outputs("mine"), outputs("all")
    (tmp_path / "id").write_text("one\n")
    file.write(text_of_watch("mine", prefix + "%i/", mine.line), text_of_watch("all", prefix + "all/", all_.line))
    with open(file.path) as f:
        text = f.read().replace("device-id = d1", f"device-id = file:{tmp_path}/id")
    with open(file.path, "w") as f:
        f.write(text)
    for key in ("one/x", "two/x"):
        etcd35.client.put(prefix + key, b"1")
    agent = run(etchlet, file)
    mine.wait_key(prefix + "one/x")
    synchronised(agent, 2)
    (tmp_path / "id").write_text("two\n")
    assert "2 watches: 0 new, 1 changed, 0 gone" in reload(agent)
    mine.wait_key(prefix + "two/x")
    assert all_.types() == ["sync", "synced"]
    agent.stop()


def test_hook_of_another_device_gets_its_new_name(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    """Its section says what it said before; what it is told does not."""
    file, out, told = file_for(etcd35), outputs("b"), tmp_path / "told"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $ETCHLET_DEVICE >>{told}\n")
    script.chmod(0o755)
    watches = (text_of_watch("a", prefix + "a/", f"exec = {script}"), text_of_watch("b", prefix + "b/", out.line))
    file.write(*watches)
    agent = run(etchlet, file)
    wait.until(lambda: told.exists() and told.read_text() == "d1\n", 10, "the first name")
    synchronised(agent, 2)
    text = file.head()
    file.head = lambda *lines: text.replace("device-id = d1", "device-id = d2")
    file.write(*watches)
    assert "2 watches: 0 new, 1 changed, 0 gone" in reload(agent)
    etcd35.client.put(prefix + "a/x", b"1")
    wait.until(lambda: told.read_text() == "d1\nd2\n", 10, "the new name")
    assert out.types() == ["sync", "synced"]
    agent.stop()


def test_position_of_a_watch_that_went_is_kept(etchlet, file_for, etcd35, outputs, prefix):
    file, a, b = file_for(etcd35), outputs("a"), outputs("b")
    both = [text_of_watch("a", prefix + "a/", a.line), text_of_watch("b", prefix + "b/", b.line)]
    file.write(*both)
    agent = run(etchlet, file)
    synchronised(agent, 2)
    file.write(both[0])
    assert "1 watch: 0 new, 0 changed, 1 gone" in reload(agent)
    wait.until(lambda: [w["name"] for w in file.status(etchlet)["watches"]] == ["a"], 5)
    etcd35.client.put(prefix + "b/while-away", b"1")
    etcd35.client.put(prefix + "a/x", b"1")
    a.wait_key(prefix + "a/x")
    assert b.keys() == []
    file.write(*both)
    assert "2 watches: 1 new, 0 changed, 0 gone" in reload(agent)
    b.wait_key(prefix + "b/while-away")
    assert b.types() == ["sync", "synced", "put"], "it went on, and was not listed again"
    agent.stop()


def test_position_is_forgotten_when_the_file_says_so(etchlet, file_for, etcd35, outputs, prefix):
    file, a, b = file_for(etcd35), outputs("a"), outputs("b")
    both = [text_of_watch("a", prefix + "a/", a.line), text_of_watch("b", prefix + "b/", b.line)]
    file.write(*both)
    agent = run(etchlet, file)
    synchronised(agent, 2)
    file.write(both[0], head=["forget = b,never-was"])
    reload(agent)
    agent.wait_stderr("position of watch b is forgotten")
    wait.until(lambda: [w["name"] for w in etchlet.state(file.state)["watches"]] == ["a"], 5)
    file.write(*both)
    reload(agent)
    wait.until(lambda: b.types() == ["sync", "synced", "sync", "synced"], 10, "listed again")
    # One that went before is forgotten too, as soon as the file says so.
    file.write(both[0])
    assert "1 watch: 0 new, 0 changed, 1 gone" in reload(agent)
    wait.until(lambda: [w["name"] for w in file.status(etchlet)["watches"]] == ["a"], 5)
    assert {w["name"] for w in etchlet.state(file.state)["watches"]} == {"a", "b"}
    file.write(both[0], head=["forget = b"])
    reload(agent)
    wait.until(lambda: [w["name"] for w in etchlet.state(file.state)["watches"]] == ["a"], 5)
    agent.stop()
    # The same at a start.
    file.write(both[1])
    agent = run(etchlet, file)
    synchronised(agent, 1)
    agent.stop()
    file.write(both[1], head=["forget = a"])
    agent = run(etchlet, file)
    agent.wait_stderr("position of watch a is forgotten")
    agent.stop()
    assert [w["name"] for w in etchlet.state(file.state)["watches"]] == ["b"]
    # And nothing else does it.
    file.write(both[0])
    agent = run(etchlet, file)
    synchronised(agent, 1)
    agent.stop()
    assert {w["name"] for w in etchlet.state(file.state)["watches"]} == {"a", "b"}


def test_watch_that_goes_while_its_hook_runs(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    file, out = file_for(etcd35), outputs("b")
    log = tmp_path / "log"
    hook = f'exec = /bin/sh -c "echo begin >>{log}; sleep 0.7; echo end >>{log}"'
    file.write(text_of_watch("a", prefix + "a/", hook), text_of_watch("b", prefix + "b/", out.line))
    agent = run(etchlet, file)
    wait.until(lambda: log.exists() and "begin" in log.read_text(), 10)
    file.write(text_of_watch("a", prefix + "a/", f'exec = /bin/sh -c "echo new >>{log}"'),
               text_of_watch("b", prefix + "b/", out.line))
    reload(agent)
    # The other one goes on meanwhile.
    etcd35.client.put(prefix + "b/x", b"1")
    out.wait_key(prefix + "b/x")
    wait.until(lambda: "end" in log.read_text(), 5)
    etcd35.client.put(prefix + "a/x", b"1")
    wait.until(lambda: log.read_text().endswith("new\n"), 10)
    # It had the time to end by itself, and its batch counts: the new one gets what came after it.
    assert log.read_text().split() == ["begin", "end", "new"]
    agent.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_while_a_watch_leaves(etchlet, file_for, etcd35, outputs, tmp_path, prefix, number):
    file, out = file_for(etcd35), outputs("b")
    log = tmp_path / "log"
    stays = text_of_watch("b", prefix + "b/", out.line)
    file.write(text_of_watch("a", prefix + "a/", f'exec = /bin/sh -c "echo $$ >{log}; exec sleep 60"'), stays)
    agent = run(etchlet, file)
    wait.until(lambda: log.exists() and log.read_text().endswith("\n"), 10)
    file.write(text_of_watch("a", prefix + "a/", f"print = {tmp_path}/next"), stays)
    reload(agent)
    if number == signal.SIGTERM:
        agent.send_signal(number)
    else:
        # What was to follow it is dropped before it has begun.
        file.write(stays)
        assert "1 watch: 0 new, 0 changed, 1 gone" in reload(agent, "reload: 1 watch")
        wait.until(lambda: len(file.status(etchlet)["watches"]) == 1, 5)
        wait.until(lambda: not os.path.exists("/proc/" + log.read_text().strip()), 9, "the hook's end")
        etcd35.client.put(prefix + "b/x", b"1")
        out.wait_key(prefix + "b/x")
        agent.stop()
    assert agent.wait_exit(9) == 0
    assert not os.path.exists("/proc/" + log.read_text().strip())
    assert not os.path.exists(tmp_path / "next")


def test_mirror_moves(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    etcd35.client.put(prefix + "x", b"1")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m1"))
    agent = run(etchlet, file)
    wait.until(lambda: os.path.exists(tmp_path / "m1/x"), 10)
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m2"))
    reload(agent)
    wait.until(lambda: os.path.exists(tmp_path / "m2/x"), 10)
    etcd35.client.put(prefix + "y", b"1")
    wait.until(lambda: os.path.exists(tmp_path / "m2/y"), 10)
    assert os.path.exists(tmp_path / "m1/x") and not os.path.exists(tmp_path / "m1/y")
    # Two watches exchange their folders.
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m1"),
               text_of_watch("b", prefix + "b/", f"mirror = {tmp_path}/m2"))
    reload(agent)
    wait.until(lambda: os.path.exists(tmp_path / "m1/y") and not os.path.exists(tmp_path / "m2/y"), 10)
    agent.stop()
    assert lines_of(agent, "warn") == [], "each waited until the other had left"


def test_folders_are_exchanged_while_a_hook_ends(etchlet, file_for, etcd35, tmp_path, prefix):
    """The folder of a watch that leaves is not free before its hook has ended."""
    file, pid = file_for(etcd35), tmp_path / "pid"
    etcd35.client.put(prefix + "b/x", b"1")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m",
                             f'exec = /bin/sh -c "echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 60"'))
    agent = run(etchlet, file)
    wait.until(pid.exists, 10)
    file.write(text_of_watch("b", prefix + "b/", f"mirror = {tmp_path}/m"))
    reload(agent)
    wait.until(lambda: os.path.exists(tmp_path / "m/x") and not os.path.exists(tmp_path / "m/b"), 10)
    assert not os.path.exists("/proc/" + pid.read_text().strip())
    agent.stop()
    assert not [l for l in lines_of(agent, "warn") if "watch b" in l], "it was not even tried before"


def test_mirrors_that_come_to_lie_in_one_another(etchlet, file_for, etcd35, tmp_path, prefix):
    """By a link, so that the file does not show it: the one that comes waits, and no file of either is lost."""
    file = file_for(etcd35)
    for key in ("a/x", "a/in/x", "b/x"):
        etcd35.client.put(prefix + key, b"1")
    first = text_of_watch("a", prefix + "a/", f"mirror = {tmp_path}/m")
    file.write(first)
    agent = run(etchlet, file)
    synchronised(agent, 1)
    os.symlink("m/in", tmp_path / "link")
    file.write(first, text_of_watch("b", prefix + "b/", f"mirror = {tmp_path}/link", "mirror-adopt = yes"))
    reload(agent, "watch b: .* lies in mirror .* of watch a")
    etcd35.client.put(prefix + "a/y", b"1")
    wait.until(lambda: os.path.exists(tmp_path / "m/y"), 10)
    assert sorted(os.listdir(tmp_path / "m/in")) == ["x"]
    assert [w["synced"] for w in file.status(etchlet)["watches"]] == [True, False]
    # As soon as they lie apart it is opened, and SIGUSR1 tells that.
    os.unlink(tmp_path / "link")
    agent.send_signal(signal.SIGUSR1)
    agent.wait_stderr("watch b: opened")
    wait.until(lambda: os.path.exists(tmp_path / "link/x"), 10)
    agent.stop()


def test_sigusr1_opens_a_mirror_that_waits(etchlet, file_for, etcd35, tmp_path, prefix):
    """Without it the next try is seconds away. A busy machine may be as slow as that once, not each time."""
    file, place, took = file_for(etcd35), tmp_path / "not", []
    stays = text_of_watch("a", prefix, f"print = {tmp_path}/out")
    file.write(stays)
    agent = run(etchlet, file)
    synchronised(agent, 1)
    while not took or (took[-1] > 1 and len(took) < 5):
        place.write_text("a file")
        file.write(stays, text_of_watch(f"b{len(took)}", prefix, f"mirror = {place}/m"))
        reload(agent, f"watch b{len(took)}: mirror .* waits")
        begin = time.monotonic()
        place.unlink()
        agent.send_signal(signal.SIGUSR1)
        agent.wait_stderr(f"watch b{len(took)}: opened")
        took.append(time.monotonic() - begin)
        file.write(stays)
        reload(agent)
        wait.until(lambda: [w["name"] for w in file.status(etchlet)["watches"]] == ["a"], 5)
        shutil.rmtree(place)
    assert took[-1] <= 1, took
    agent.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_mode_and_owner_of_a_mirror_change(etchlet, file_for, etcd35, tmp_path, prefix):
    """What is there gets them too, and no value is written anew."""
    file, places = file_for(etcd35), ("x", "f/y", "f")
    for key in ("x", "f/y"):
        etcd35.client.put(prefix + key, b"1")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m"))
    agent = run(etchlet, file)
    synchronised(agent, 1)

    def look():
        found = [os.stat(tmp_path / "m" / place) for place in places]
        return [(oct(at.st_mode & 0o7777), at.st_uid, at.st_gid) for at in found]

    inodes = [os.stat(tmp_path / "m" / place).st_ino for place in places]
    assert look() == [("0o644", 0, 0), ("0o644", 0, 0), ("0o755", 0, 0)]
    for lines, mode, folder_mode, uid, gid in (
            (["mirror-mode = 0640"], "0o640", "0o750", 0, 0),
            (["mirror-mode = 0640", "mirror-owner = 1234:2345"], "0o640", "0o750", 1234, 2345)):
        file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m", *lines))
        assert "1 watch: 0 new, 1 changed, 0 gone" in reload(agent)
        wanted = [(mode, uid, gid), (mode, uid, gid), (folder_mode, uid, gid)]
        wait.until(lambda: look() == wanted, 10, f"{wanted}")
    assert [os.stat(tmp_path / "m" / place).st_ino for place in places] == inodes
    agent.stop()


def test_hangup_while_a_mirror_waits(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    etcd35.client.put(prefix + "x", b"1")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/not/m"))
    agent = run(etchlet, file)
    agent.wait_stderr("watch a: ")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m"))
    reload(agent)
    wait.until(lambda: os.path.exists(tmp_path / "m/x"), 10)
    agent.stop()


# Settings.


def test_other_endpoint(etchlet, file_for, servers, outputs):
    one, two = servers.fake(), servers.fake()
    two.cluster_id = one.cluster_id if hasattr(one, "cluster_id") else None
    file, out = file_for(one), outputs("a")
    file.write(text_of_watch("a", "/a/", out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    file.endpoints = two.url
    file.write(text_of_watch("a", "/a/", out.line))
    reload(agent)
    two.wait_connections(1)
    wait.until(lambda: file.status(etchlet)["endpoint"] == two.url, 5)
    agent.stop()


def test_what_cannot_change_is_told_and_stays(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    file, out = file_for(etcd35), outputs("a")
    file.write(text_of_watch("a", prefix, out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    state, control = file.state, file.control
    file.state, file.control = str(tmp_path / "other"), str(tmp_path / "c2")
    file.write(text_of_watch("a", prefix, out.line), head=["durability = relaxed"])
    for _ in range(2):
        reload(agent)
    warnings = lines_of(agent, "warn")
    for word, stays in (("state", state), ("control", control), ("durability", "normal")):
        assert len([l for l in warnings if f"reload: {word} cannot change" in l and stays in l]) == 2
    # Nor is it what a new mirror is kept by: with relaxed its record would name the boot that it is of.
    file.write(text_of_watch("a", prefix, out.line), text_of_watch("m", prefix, f"mirror = {tmp_path}/m"),
               head=["durability = relaxed"])
    reload(agent)
    record = tmp_path / "m/.etchlet/identity"
    wait.until(record.exists, 10)
    assert b"\nboot -\n" in record.read_bytes()
    file.control = control
    assert file.status(etchlet)["state"]["file"] == state
    agent.stop()
    assert not os.path.exists(tmp_path / "other") and not os.path.exists(tmp_path / "c2")


def test_log_level_and_metrics_change(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    file, out = file_for(etcd35), outputs("a")
    file.write(text_of_watch("a", prefix, out.line))
    agent = run(etchlet, file)
    synchronised(agent, 1)
    one, two = tmp_path / "one.prom", tmp_path / "two.prom"
    for path, gone in ((one, two), (two, one)):
        file.write(text_of_watch("a", prefix, out.line), head=[f"metrics = {path}", "metrics-interval = 20s"])
        reload(agent)
        wait.until(path.exists, 5)
        assert not gone.exists()
        # Nothing changes: it is not even written anew.
        before = path.stat().st_ino
        reload(agent)
        assert path.stat().st_ino == before
    # Another interval: it is replaced, and never missing.
    before = two.stat().st_ino
    file.write(text_of_watch("a", prefix, out.line), head=[f"metrics = {two}", "metrics-interval = 30s"])
    reload(agent)
    wait.until(lambda: two.stat().st_ino != before, 5)
    file.write(text_of_watch("a", prefix, out.line), head=["log-level = error"])
    agent.send_signal(signal.SIGHUP)
    wait.until(lambda: not two.exists(), 5)
    before = len(agent.stderr())
    agent.send_signal(signal.SIGHUP)
    wait.holds_for(lambda: len(agent.stderr()) == before, 0.4, "nothing more is logged")
    agent.stop()


def test_hook_of_an_unchanged_watch_gets_other_delays(etchlet, file_for, etcd35, tmp_path, prefix):
    file, good, done = file_for(etcd35), tmp_path / "good", tmp_path / "done"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n[ -e {good} ] && touch {done}\n")
    script.chmod(0o755)
    watch = text_of_watch("h", prefix, f"exec = {script}")
    text = file.head()
    file.head = lambda *lines: text.replace("backoff-min = 20ms", "backoff-min = 1h").replace("= 300ms", "= 1h")
    file.write(watch)
    agent = run(etchlet, file)
    agent.wait_stderr("ended with status 1")
    good.touch()
    file.head = lambda *lines: text
    file.write(watch)
    reload(agent)
    wait.until(done.exists, 5, "it is not waited for for an hour")
    agent.stop()


def test_forgetting_waits_for_the_state_file(etchlet, file_for, etcd35, outputs, prefix):
    file, a = file_for(etcd35), outputs("a")
    both = [text_of_watch("a", prefix + "a/", a.line), text_of_watch("b", prefix + "b/", outputs("b").line)]
    file.write(*both)
    agent = run(etchlet, file)
    synchronised(agent, 2)
    agent.stop()
    os.rename(file.state, file.state + ".away")
    os.mkdir(file.state)
    file.write(both[0], head=["forget = b"])
    agent = run(etchlet, file)
    agent.wait_stderr("forget: the state file is not open; it is tried again every 10 s")
    os.rmdir(file.state)
    os.rename(file.state + ".away", file.state)
    agent.send_signal(signal.SIGUSR1)
    agent.wait_stderr("position of watch b is forgotten", 4)
    agent.wait_stderr("forget: nothing is left to forget")
    agent.stop()
    assert [w["name"] for w in etchlet.state(file.state)["watches"]] == ["a"]


# Often, and under load.


def test_many_reloads_leak_nothing(etchlet, file_for, etcd35, outputs, tmp_path, prefix):
    file = file_for(etcd35)
    stays = outputs("stays")
    forms = [
        [text_of_watch("stays", prefix + "s/", stays.line),
         text_of_watch("a", prefix + "a/", f"mirror = {tmp_path}/m", "exec = /bin/true"),
         text_of_watch("b", prefix + "b/", f"print = {tmp_path}/b1")],
        [text_of_watch("stays", prefix + "s/", stays.line),
         text_of_watch("a", prefix + "a/", f"mirror = {tmp_path}/m", "exec = /bin/true x"),
         text_of_watch("c", prefix + "c/", f"print = {tmp_path}/b1", "exec = /bin/true")],
        [text_of_watch("stays", prefix + "s/", stays.line), "[watch broken]\nkey = x\n"],
    ]
    file.write(*forms[0])
    agent = run(etchlet, file)
    synchronised(agent, 3)

    def fds():
        """While no hook runs: it has some of its own."""
        counts = []
        wait.holds_for(lambda: counts.append(len(os.listdir(f"/proc/{agent.process.pid}/fd"))) is None, 0.5)
        return min(counts)

    def rss_kb():
        with open(f"/proc/{agent.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def settled():
        return {w["name"] for w in file.status(etchlet)["watches"]} == {"stays", "a", "b"} and \
            all(w["synced"] for w in file.status(etchlet)["watches"])

    sizes = []
    for turn in range(60):
        file.write(*forms[turn % 3])
        reload(agent, "reload: .*(gone|nothing changes)")
        etcd35.client.put(f"{prefix}s/{turn}", b"1")
        etcd35.client.put(f"{prefix}a/{turn}", b"1")
        if turn % 20 == 19:
            file.write(*forms[0])
            reload(agent)
            wait.until(settled, 10)
            stays.wait_key(f"{prefix}s/{turn}")
            sizes.append((fds(), rss_kb()))
    assert len({f for f, _ in sizes}) == 1, sizes
    if not etchlet.is_sanitized:
        assert sizes[-1][1] - sizes[0][1] < 200, sizes
    assert stays.types() == ["sync", "synced"] + ["put"] * 60
    assert stays.keys() == [f"{prefix}s/{i}" for i in range(60)]
    agent.stop(within_s=7)


def test_reload_under_load(etchlet, file_for, etcd35, outputs, prefix):
    """Every event once, in the watch that stays and over the changes of the one that changes."""
    file, stays = file_for(etcd35), outputs("stays")
    one, two = outputs("one"), outputs("two")

    def write(turn):
        file.write(text_of_watch("stays", prefix, stays.line),
                   text_of_watch("turns", prefix, (one, two)[turn % 2].line))
    write(0)
    agent = run(etchlet, file)
    synchronised(agent, 2)
    keys = []
    for turn in range(1, 8):
        batch = [f"{prefix}{turn}/{i}" for i in range(300)]
        for key in batch[:150]:
            etcd35.client.put(key, b"x" * 100)
        write(turn)
        agent.send_signal(signal.SIGHUP)
        for key in batch[150:]:
            etcd35.client.put(key, b"x" * 100)
        keys += batch
    stays.wait_key(keys[-1])
    wait.until(lambda: len(one.keys()) + len(two.keys()) >= len(keys), 10, "all of them")
    assert stays.keys() == keys
    assert sorted(one.keys() + two.keys()) == sorted(keys)
    agent.stop()

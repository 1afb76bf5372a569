# SPDX-License-Identifier: Apache-2.0
"""
The mirror of `etchlet run`: the tree is a function of the keys alone, a file is whole or absent, and
nothing but a key's absence at the server removes it.
"""

import os
import random
import signal
import stat
import subprocess
import sys

import pytest

from harness import etcd as etcd_module
from harness import fake_etcd, mirror_model, proto, wait
from harness.config import Watch
from harness.folders import disks, memory_dir, outside  # noqa: F401 (fixtures)
from harness.mirror_model import Tree, tree, value
from harness.process import die_with_parent, kill_and_reap
from harness.proxy import Plan
from harness.run_agent import pairs_of

SEEDS = [int(s) for s in os.environ.get("ETCHLET_SEEDS", "1,2,3,4").split(",")]

# What comes after the watch's prefix.
NASTY = [
    b"plain", b"with space", b"a/b/c", b"..", b".", b"../..", b"../../etc/passwd", b"./x", b"x/..", b"x/../y",
    b"", b"/", b"//", b"/abs", b"trailing/", b"twice//inside", b".etchlet", b".etchlet/x", b"deep/.etchlet",
    b".etchlet2", b"%", b"%%", b"%2E", b"%2e", b"100%", b"%%/x", b"a%2Fb", b"\xff", b"\xff\xff/\xff",
    b"\x00", b"nul\x00inside", b"new\nline", b"tab\t", b"-rf", b"*", b"$(x)", b"~", b"~root", b"back\\slash",
    b"quote\"'", b"\xc3\xa4", b"\xf0\x9f\x98\x80", b":", b"@", b"=,+", b"n" * 255, b"\xff" * 85, b"folder",
    b"folder/leaf", b"folder/leaf/deeper", b"folder/other", b".hidden", b"...", b"CON", b"both", b"both/",
    b"both/%%", b"a" * 200 + b"/" + b"b" * 200 + b"/" + b"c" * 200,
]


def keyed(prefix, names):
    return {prefix + n: value(b"v of " + n) for n in names}


def put_all(client, pairs):
    """In one revision."""
    client.txn([("put", k, v) for k, v in pairs.items()])


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "mirror")


# The model itself, against what is promised in words.


def test_model_follows_the_promise():
    def names(watch_key, *keys):
        return sorted(tree(watch_key, {k: b"" for k in keys}).files)
    assert names(b"/config/x/", b"/config/x/a") == [b"a"]
    assert names(b"/config/x", b"/config/x/a", b"/config/xy") == [b"x/a", b"xy"]
    assert names(b"/config/x", b"/config/x", b"/config/x/a") == [b"x/%%", b"x/a"]
    assert names(b"k", b"k", b"k/") == [b"k/%", b"k/%%"]
    assert names(b"/p/", b"/p/", b"/p/..", b"/p/.", b"/p/a//b") == [b"%", b"%2E", b"%2E%2E", b"a/%/b"]
    assert names(b"/p/", b"/p/.etchlet", b"/p/a/.etchlet") == [b"%2Eetchlet", b"a/.etchlet"]
    assert names(b"/p/", b"/p/%", b"/p/%%", b"/p/\xfe\n") == [b"%25", b"%25%25", b"%FE%0A"]
    assert names(b"/p/", b"/p/" + b"n" * 255, b"/p/" + b"m" * 256) == [b"n" * 255]
    assert names(b"/p/", b"/p/" + b"\xff" * 85, b"/p/" + b"\xff" * 86) == [b"%FF" * 85]
    # A key that cannot be a file makes no folder, and no folder of another key.
    assert names(b"/p/", b"/p/a", b"/p/a/" + b"m" * 256) == [b"a"]
    assert tree(b"/p/", {b"/p/a/b/c": b""}).folders == {b"a", b"a/b"}
    assert tree(b"/p/", {b"/p/a": b"123", b"/p/b": b"12"}, max_value=2).files == {b"b": b"12"}
    assert not Tree({b"a": b"1"}, set()).difference(Tree({b"a": b"1"}, set()))
    assert len(Tree({b"a": b"1"}, {b"f"}).difference(Tree({b"a": b"2", b"b": b""}, set()))) == 3
    assert mirror_model.is_whole(value(b"x")) and not mirror_model.is_whole(value(b"xyz")[:-1])


# The tree.


def test_listed_and_followed_keys_give_the_same_tree(runner, servers, version, folder, tmp_path):
    etcd = servers.etcd(version, flags=etcd_module.ROOMY)
    pairs = keyed(b"/m/", NASTY)
    put_all(etcd.client, pairs)
    agent = runner.mirror(etcd, "/m/", folder)
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)
    agent.wait_synced()

    # The other way: one event after another, in an order of chance, into an empty folder.
    other = str(tmp_path / "other")
    runner.state += "-2"
    agent.stop()
    agent = runner.mirror(etcd, "/n/", other)
    agent.wait_synced()
    chance = random.Random(7)
    names = list(NASTY)
    chance.shuffle(names)
    for name in names:
        etcd.client.put(b"/n/" + name, value(b"v of " + name))
    runner.wait_mirror(other, b"/n/", keyed(b"/n/", NASTY), alive=agent)
    assert mirror_model.read(other) == mirror_model.read(folder)
    chance.shuffle(names)
    for name in names[: len(names) // 2]:
        etcd.client.delete(b"/n/" + name)
    runner.wait_mirror(other, b"/n/", keyed(b"/n/", names[len(names) // 2 :]), alive=agent)
    for name in names[len(names) // 2 :]:
        etcd.client.delete(b"/n/" + name)
    runner.wait_mirror(other, b"/n/", {}, alive=agent)
    assert agent.watch("w")["unmappable"] == 0 and agent.watch("w")["sink_errors"] == 0


def test_every_byte_value(runner, etcd35, prefix, folder):
    root = prefix.encode()
    pairs = {root + b"x" + bytes([b]): value(bytes([b])) for b in range(256)}
    pairs.update({root + bytes([b]): value(bytes([b, b])) for b in range(256)})
    for at in range(0, 512, 256):
        put_all(etcd35.client, dict(list(pairs.items())[at : at + 256]))
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)


def test_names_that_do_not_fit_are_as_good_as_absent(runner, etcd, prefix, folder):
    root = prefix.encode()
    good = {root + b"n" * 255: value(b"1"), root + b"\xff" * 85: value(b"2"), root + b"a": value(b"3"),
            root + b"/".join([b"d" * 100] * 30): value(b"4")}
    bad = [root + b"n" * 256, root + b"\xff" * 86, root + b"a/" + b"m" * 300, root + b"only/" + b"m" * 300 + b"/x",
           root + b"/".join([b"\xff" * 80] * 17)]
    put_all(etcd.client, good)
    for key in bad[:3]:
        etcd.client.put(key, b"listed")
    agent = runner.mirror(etcd, prefix, folder)
    agent.wait_synced()
    for key in bad[3:]:
        etcd.client.put(key, b"followed")
    good[root + b"end"] = value(b"5")
    position = etcd.client.put(root + b"end", value(b"5"))
    runner.wait_mirror(folder, root, good, alive=agent)
    found = agent.wait_position("w", position)
    assert found["unmappable"] == 5
    assert found["last_skipped"].lower().startswith(prefix + "\\xff\\xff")
    etcd.client.delete(bad[0])
    etcd.client.delete(bad[3])
    position = etcd.client.delete(root + b"a")
    del good[root + b"a"]
    runner.wait_mirror(folder, root, good, alive=agent)
    agent.wait_position("w", position)


def test_key_becomes_a_folder_and_a_file_again(runner, etcd35, prefix, folder):
    root = prefix.encode()
    client = etcd35.client
    agent = runner.mirror(etcd35, prefix, folder)
    agent.wait_synced()
    pairs = {}

    def step(*ops):
        client.txn([("put", root + k, v) if v is not None else ("delete", root + k) for k, v in ops])
        for k, v in ops:
            pairs.pop(root + k, None)
            if v is not None:
                pairs[root + k] = v
        runner.wait_mirror(folder, root, pairs, alive=agent)

    step((b"a", b"1"))
    step((b"a/b", b"2"))
    step((b"a/b/c", b"3"))
    step((b"a", b"4"), (b"a/b", b"5"))
    step((b"a/b/c", None))
    step((b"a/b", None))
    assert mirror_model.read(folder).files == {b"a": b"4"}
    step((b"a", None), (b"a/x/y", b"6"))
    step((b"a", b"7"), (b"a/x", b"8"), (b"a/x/y", None))
    step((b"a/x", None), (b"a", None))
    assert mirror_model.read(folder) == Tree({}, set())
    step((b"a/", b"empty component"), (b"a", b"self"))
    step((b"a//", b"twice"))
    step((b"a", None))
    step((b"a/", None))
    step((b"a//", None))
    # All in one transaction, both ways.
    step((b"q", b"1"), (b"q/r", b"2"), (b"q/r/s", b"3"))
    step((b"q/r", None), (b"q/r/s", None), (b"q", b"4"))


@pytest.mark.parametrize("watch_key, prefixed, keys", [
    (b"/s/single", False, [b"/s/single"]),
    (b"single", False, [b"single"]),
    (b"/s/x/", False, [b"/s/x/"]),
    (b"/s/pre", True, [b"/s/pre", b"/s/pre/a", b"/s/prefix", b"/s/pre/", b"/s/pre-x/y"]),
    (b"pre", True, [b"pre", b"pre/a", b"prefix/b/c", b"pre//"]),
    (b"/s/.etch", True, [b"/s/.etch", b"/s/.etchlet", b"/s/.etchlet/x", b"/s/.etchlet2"]),
    (b"/s/\xff", True, [b"/s/\xff", b"/s/\xff\xff/a"]),
])
def test_what_is_cut_off_a_key(runner, servers, folder, watch_key, prefixed, keys):
    etcd = servers.etcd()
    for key in (b"/s/singl", b"/s/single2", b"/s/single/x", b"other", b"/s/x", b"/s/xx", b"pr", b"/t"):
        if not (prefixed and key.startswith(watch_key)) and key not in keys:
            etcd.client.put(key, b"not in the range")
    pairs = {k: value(k) for k in keys}
    put_all(etcd.client, pairs)
    agent = runner.mirror(etcd, watch_key, folder, prefixed)
    runner.wait_mirror(folder, watch_key, pairs, alive=agent)
    agent.wait_synced()
    pairs[keys[-1]] = b"changed"
    etcd.client.put(keys[-1], b"changed")
    runner.wait_mirror(folder, watch_key, pairs, alive=agent)
    for key in keys:
        etcd.client.delete(key)
    runner.wait_mirror(folder, watch_key, {}, alive=agent)


def test_value_that_is_too_long_has_no_file(runner, etcd35, prefix, folder):
    root = prefix.encode()
    pairs = {root + b"fits": b"x" * 1024, root + b"grows": b"x", root + b"long": b"x" * 1025}
    put_all(etcd35.client, pairs)
    agent = runner.mirror(etcd35, prefix, folder, max_value="1K")
    runner.wait_mirror(folder, root, pairs, alive=agent, max_value=1024)
    agent.wait_synced()
    for key, size in ((b"grows", 5000), (b"long", 3), (b"long/under", 2000), (b"fits", 1024)):
        pairs[root + key] = b"y" * size
        position = etcd35.client.put(root + key, pairs[root + key])
    agent.wait_position("w", position)
    assert not mirror_model.read(folder).difference(tree(root, pairs, 1024))
    assert agent.watch("w")["too_long"] == 3


def test_empty_and_large_values(runner, servers, version, folder):
    etcd = servers.etcd(version)
    pairs = {b"/m/%d" % n: (bytes(range(256)) * (n // 256 + 1))[:n]
             for n in (0, 1, 4095, 4096, 4097, 16384, 65536, 1 << 20)}
    for key, data in pairs.items():
        etcd.client.put(key, data)
    agent = runner.mirror(etcd, "/m/", folder)
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)
    for key, data in pairs.items():
        pairs[key] = data[::-1] + b"!"
        etcd.client.put(key, pairs[key])
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)


# Histories of chance.

PARTS = [b"a", b"b", b"c", b"", b".", b"..", b"\xff", b"%", b"%%", b"x y", b".etchlet", b"\n", b"\x00", b"n" * 300,
         b"d1", b"d2"]


class Writer:
    """Random changes below /m/, each value telling of itself whether it is whole."""

    def __init__(self, chance, etcd):
        self.chance = chance
        self.etcd = etcd
        self.leases = []

    def key(self):
        depth = self.chance.choice([1, 1, 2, 2, 3, 4])
        return b"/m/" + b"/".join(self.chance.choice(PARTS) for _ in range(depth))

    def value(self):
        size = self.chance.choice([0, 1, 10, 100, 1000, 5000, 20_000, 100_000])
        return value(bytes([self.chance.randrange(256)]) * size)

    def step(self):
        chance, client = self.chance, self.etcd.client
        kind = chance.random()
        if kind < 0.45:
            client.put(self.key(), self.value())
        elif kind < 0.6:
            client.delete(self.key())
        elif kind < 0.68:
            # A range: everything from one key to another, or below one.
            first, last = sorted([self.key(), self.key()])
            client.delete(first, last if chance.random() < 0.5 and first < last
                          else proto.prefix_end(first))
        elif kind < 0.88:
            ops = {}
            for _ in range(chance.randrange(2, 60)):
                key = self.key()
                ops[key] = ("delete", key) if chance.random() < 0.4 else \
                    ("put", key, value(b"t" * chance.randrange(400)))
            client.txn(list(ops.values()))
        elif kind < 0.94:
            lease = client.grant(600)
            self.leases.append(lease)
            for _ in range(3):
                client.put(self.key(), self.value(), lease)
        elif self.leases:
            client.revoke(self.leases.pop())
        else:
            client.put(b"/elsewhere", b"")


@pytest.mark.parametrize("seed", SEEDS)
def test_random_history(runner, servers, folder, seed):
    print(f"seed {seed} (ETCHLET_SEEDS={seed})")
    chance = random.Random(seed)
    etcd = servers.etcd(chance.choice(["3.4", "3.5", "3.5-latest"]))
    proxy = servers.proxy(etcd)
    writer = Writer(chance, etcd)
    os.makedirs(folder)
    reader = subprocess.Popen([sys.executable, "-c", mirror_model.READER, folder], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        for _ in range(14):
            for _ in range(chance.randrange(40)):
                writer.step()
            if chance.random() < 0.4:
                etcd.client.compact(etcd.client.revision())
            if chance.random() < 0.2 and os.path.exists(runner.state):
                os.unlink(runner.state)
            for _ in range(chance.randrange(2)):
                proxy.plans.append(Plan(cut_down=chance.randrange(50, 400_000)))
            agent = runner.mirror(proxy, "/m/", folder,
                                  durability=chance.choice(["normal", "relaxed"]))
            for _ in range(chance.randrange(150)):
                writer.step()
                if chance.random() < 0.04:
                    proxy.cut(chance.random() < 0.5)
            kind = chance.random()
            if kind < 0.3:
                # Somewhere within what it does, not always at the same place.
                wait.until(lambda: runner.status() is not None, 10, "it answers")
                agent.wait_synced()
                writer.step()
            if kind < 0.7:
                agent.kill()
            else:
                agent.stop(chance.choice([signal.SIGTERM, signal.SIGINT]))
        proxy.plans.clear()
        agent = runner.mirror(proxy, "/m/", folder)
        for _ in range(30):
            writer.step()
        pairs = pairs_of(etcd, b"/m/", b"/m0")
        runner.wait_mirror(folder, b"/m/", pairs, 30, alive=agent)
        etcd.client.put(b"/m/end", value(b"end"))
        pairs[b"/m/end"] = value(b"end")
        runner.wait_mirror(folder, b"/m/", pairs, 15, alive=agent)
        agent.stop()
        # Nothing of what was under way when it was killed is left in its own folder.
        left = [f for at, _, files in os.walk(os.path.join(folder, ".etchlet")) for f in files]
        assert len(left) <= 4, f"left over: {left}"
        out, _ = reader.communicate(b"", timeout=20)
    finally:
        kill_and_reap(reader)
    first, count, *bad = out.decode(errors="replace").strip().split("\n")
    assert first == "reading" and int(count) > 100, "the reader has read next to nothing"
    assert not bad, "seen while it was written:\n" + "\n".join(bad)


def test_reader_sees_whole_values_only(runner, etcd35, prefix, folder):
    """One key that changes all the time between long and short, read all the time."""
    root = prefix.encode()
    etcd35.client.put(root + b"k", value(b"start"))
    agent = runner.mirror(etcd35, prefix, folder)
    agent.wait_synced()
    reader = subprocess.Popen([sys.executable, "-c", mirror_model.READER, folder], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        assert reader.stdout.readline() == b"reading\n"
        for i in range(120):
            last = value(bytes([65 + i % 26]) * [300_000, 10, 70_000, 0][i % 4])
            etcd35.client.put(root + b"k", last)
        runner.wait_mirror(folder, root, {root + b"k": last}, alive=agent)
        out, _ = reader.communicate(b"", timeout=20)
    finally:
        kill_and_reap(reader)
    count, *bad = out.decode(errors="replace").strip().split("\n")
    assert int(count) > 50 and not bad, "\n".join(bad)


# Full synchronisations.


def big_enough(root):
    return {root + b"%03d" % i: value(b"%d" % i * (i * 7)) for i in range(100)}


@pytest.mark.parametrize("reason", ["first", "compacted", "rollback", "cluster"])
def test_full_synchronisation_changes_only_what_changed(runner, servers, folder, reason):
    etcd = servers.etcd()
    root = b"/m/"
    pairs = big_enough(root)
    pairs.update(keyed(root, [b"dir/x", b"dir/y", b"gone/z", b"file"]))
    put_all(etcd.client, pairs)
    snapshot = etcd.snapshot() if reason == "rollback" else None
    if reason == "rollback":
        etcd.client.put(root + b"after", b"the snapshot")
        pairs[root + b"after"] = b"the snapshot"
    agent = runner.mirror(etcd, "/m/", folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    agent.stop()
    before = mirror_model.inodes(folder)

    if reason == "first":
        os.unlink(runner.state)
    elif reason == "rollback":
        etcd.terminate()
        etcd.restore(snapshot)
        etcd.start()
        del pairs[root + b"after"]
    elif reason == "cluster":
        etcd.terminate()
        etcd.wipe("another")
        etcd.start()
        put_all(etcd.client, pairs)
    changes = {b"005": b"new", b"dir/x": None, b"gone/z": None, b"file": None, b"file/below": b"new", b"new": b"new",
               b"006": b"0", b"007": value(b"7" * 7 * 7)[:-1] + b"8"}
    if reason == "rollback":
        changes = {}  # as it was, or its revision would pass the position
    for name, data in changes.items():
        if data is None:
            etcd.client.delete(root + name)
            del pairs[root + name]
        else:
            etcd.client.put(root + name, data)
            pairs[root + name] = data
    if reason == "compacted":
        etcd.client.compact(etcd.client.revision())
    agent = runner.start()
    runner.wait_mirror(folder, root, pairs, alive=agent)
    found = agent.wait_synced()["watches"][0]
    assert (found["syncs"], found["last_sync_reason"]) == (1, reason)
    after = mirror_model.inodes(folder)
    changed = {p for p in before if p in after and before[p][:2] != after[p][:2]}
    assert changed == {n for n in changes if n in before and n in after}, "files written without need"
    assert len(set(before) & set(after)) >= 99


@pytest.mark.parametrize("count, durability", [(20_000, "normal"), (100_000, "relaxed")])
def test_many_keys_in_bounded_memory(etchlet, runner, servers, memory_dir, count, durability):
    if etchlet.is_sanitized:
        pytest.skip("a sanitizer's own memory is counted too: run against the plain binary")
    etcd = servers.etcd(flags=etcd_module.ROOMY)
    pairs = {b"/m/%02d/%05d" % (i % 100, i): b"value-%d" % i for i in range(count)}
    items = list(pairs.items())
    for at in range(0, count, 20_000):
        etcd.client.txn([("put", k, v) for k, v in items[at : at + 20_000]])
    folder = os.path.join(memory_dir, "m")
    agent = runner.mirror(etcd, "/m/", folder, durability=durability)
    agent.wait_synced(timeout_s=50)
    assert not mirror_model.read(folder).difference(tree(b"/m/", pairs))
    assert agent.peak_kb() < 4096
    agent.stop()
    # The same again, with nothing to write, one key gone and one more.
    before = mirror_model.inodes(folder)
    os.unlink(runner.state)
    assert pairs.pop(b"/m/07/00007") and os.path.exists(folder + "/07/00007")
    pairs[b"/m/new"] = b"1"
    etcd.client.txn([("delete", b"/m/07/00007"), ("put", b"/m/new", b"1")])
    agent = runner.start()
    agent.wait_synced(timeout_s=50)
    after = mirror_model.inodes(folder)
    assert set(after) == {k[3:] for k in pairs}, "the vanished key or the new one"
    assert all(after[p] == before[p] for p in after if p != b"new"), "unchanged files were written"
    assert agent.peak_kb() < 4096


# What others put into the folder.


def replace_by_link(path, target):
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, path + "-moved")
        # Out of the mirror, so that it does not count as a file of somebody.
        os.rename(path + "-moved", os.path.join(os.path.dirname(os.path.dirname(path)), "moved-away"))
    elif os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


@pytest.mark.parametrize("when", ["running", "down", "full"])
def test_planted_links_are_not_followed(runner, servers, folder, outside, when):
    """running: events come; down: the same after a restart; full: a full synchronisation."""
    etcd = servers.etcd()
    root = b"/m/"
    pairs = keyed(root, [b"file", b"dir/file", b"dir/a", b"other", b"dir2/file", b"gone", b"dir3/file", b"loop"])
    put_all(etcd.client, pairs)
    agent = runner.mirror(etcd, "/m/", folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    if when != "running":
        agent.stop()
    replace_by_link(os.path.join(folder, "file"), outside / "file")
    for name, target in (("dir", outside / "folder"), ("dir2", "../outside/empty"), ("dir3", outside.path)):
        os.rename(os.path.join(folder, name), os.path.join(os.path.dirname(folder), "was-" + name))
        os.symlink(target, os.path.join(folder, name))
    replace_by_link(os.path.join(folder, "gone"), outside / "folder")
    replace_by_link(os.path.join(folder, "loop"), "loop")
    os.symlink(outside / "file", os.path.join(folder, "coming"))
    os.symlink(outside / "folder", os.path.join(folder, "coming-dir"))
    os.symlink("/nowhere/at/all", os.path.join(folder, "dangling"))
    if when == "full":
        os.unlink(runner.state)
    if when != "running":
        agent = runner.start()
    changes = {b"file": b"n1", b"dir/file": b"n2", b"dir/a": None, b"dir/new": b"n3", b"dir2/file": None,
               b"gone": None, b"dir3/file": b"n4", b"dir3/folder/file": b"n5", b"loop": b"n6", b"coming": b"n7",
               b"coming-dir/x": b"n8", b"dangling": b"n9", b"end": b"n10"}
    for name, data in changes.items():
        position = etcd.client.delete(root + name) if data is None else etcd.client.put(root + name, data)
        pairs.pop(root + name, None)
        if data is not None:
            pairs[root + name] = data
    agent.wait_position("w", position, 20)
    outside.assert_untouched()
    # Whatever it made of the links meanwhile, a full synchronisation makes the tree what it has to be.
    agent.stop()
    os.unlink(runner.state)
    agent = runner.start()
    runner.wait_mirror(folder, root, pairs, alive=agent)
    outside.assert_untouched()


def test_hard_link_is_not_written_through(runner, etcd35, prefix, folder, outside):
    root = prefix.encode()
    agent = runner.mirror(etcd35, prefix, folder)
    agent.wait_synced()
    os.link(outside / "file", os.path.join(folder, "file"))
    outside.made = outside.look()
    etcd35.client.put(root + b"file", b"inside")
    runner.wait_mirror(folder, root, {root + b"file": b"inside"}, alive=agent)
    etcd35.client.delete(root + b"file")
    runner.wait_mirror(folder, root, {}, alive=agent)


def test_links_in_the_agents_own_folder(runner, servers, folder, outside):
    """Names that it used for what was under way are links when it comes back, and so is the folder."""
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    etcd.client.put(b"/m/a", value(b"small"))
    agent = runner.mirror(proxy, "/m/", folder, probe_interval="5s", idle_after="60s")
    agent.wait_synced()
    own = os.path.join(folder, ".etchlet")
    quiet = set(os.listdir(own))
    # A value that stops half-way, and a power cut.
    proxy.live[-1].plan.delay_s = 0.05
    proxy.live[-1].plan.segment = 20_000
    etcd.client.put(b"/m/a", value(b"L" * 1_000_000))
    busy = wait.until(lambda: set(os.listdir(own)) - quiet, 10, "a temporary file")
    agent.kill()
    proxy.cut()
    for name in busy:
        path = os.path.join(own, name)
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(outside / "file", path)
    agent = runner.start()
    runner.wait_mirror(folder, b"/m/", pairs_of(etcd, b"/m/", b"/m0"), 30, alive=agent)
    agent.stop()
    outside.assert_untouched()
    # The folder itself: neither taken nor written into.
    for name in os.listdir(own):
        os.unlink(os.path.join(own, name))
    os.rmdir(own)
    os.symlink(outside / "empty", own)
    agent = runner.start()
    wait.until(lambda: not agent.is_running or agent.err.bytes(), 10, "it says something or ends")
    wait.holds_for(lambda: outside.look() == outside.made, 0.5, "the outside is untouched")


def test_folder_that_is_a_link_itself_is_the_users_wish(runner, etcd35, prefix, folder, tmp_path):
    os.makedirs(tmp_path / "real")
    os.symlink(tmp_path / "real", folder)
    etcd35.client.put(prefix.encode() + b"a", b"1")
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(str(tmp_path / "real"), b"x/", {b"x/a": b"1"}, alive=agent)
    assert os.path.islink(folder)


def test_foreign_files_are_not_taken(runner, etcd35, prefix, folder):
    etcd35.client.put(prefix.encode() + b"a", b"1")
    os.makedirs(os.path.join(folder, "sub"))
    with open(os.path.join(folder, "sub", "precious"), "w") as f:
        f.write("somebody's")
    agent = runner.mirror(etcd35, prefix, folder)
    assert agent.wait_exit() == 2
    assert folder in agent.tail()
    assert mirror_model.read(folder) == Tree({b"sub/precious": b"somebody's"}, {b"sub"})
    # An empty one is nobody's.
    os.unlink(os.path.join(folder, "sub", "precious"))
    os.rmdir(os.path.join(folder, "sub"))
    agent = runner.start()
    runner.wait_mirror(folder, b"x/", {b"x/a": b"1"}, alive=agent)


def test_adoption_makes_the_folder_equal(runner, etcd35, prefix, folder, outside):
    root = prefix.encode()
    pairs = {root + b"same": b"same", root + b"other": b"new", root + b"dir": b"a file", root + b"x/y": b"1"}
    put_all(etcd35.client, pairs)
    os.makedirs(os.path.join(folder, "dir", "sub"))
    os.makedirs(os.path.join(folder, "empty", "deep"))
    for name, text in (("same", "same"), ("other", "old"), ("dir/sub/f", "f"), ("foreign", "f"), ("x", "a file")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    os.symlink(outside.path, os.path.join(folder, "link"))
    os.symlink(outside / "file", os.path.join(folder, "dir", "link"))
    os.mkfifo(os.path.join(folder, "fifo"))
    inode = os.stat(os.path.join(folder, "same")).st_ino
    agent = runner.mirror(etcd35, prefix, folder, mirror_options={"mirror_adopt": True})
    runner.wait_mirror(folder, root, pairs, alive=agent)
    assert os.stat(os.path.join(folder, "same")).st_ino == inode, "an equal file was written again"
    agent.stop()
    # It is its own from now on, with or without the word.
    agent = runner.mirror(etcd35, prefix, folder)
    agent.wait_synced()


def test_missing_folders_above_are_made(runner, etcd35, prefix, tmp_path):
    etcd35.client.put(prefix.encode() + b"a", b"1")
    folder = str(tmp_path / "new" / "and" / "mirror")
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(folder, b"x/", {b"x/a": b"1"}, alive=agent)


# Damage.


def remove_tree(path):
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.mark.parametrize("damage", ["removed", "emptied", "own folder and all files"])
def test_lost_folder_is_noticed_at_the_start(runner, etcd35, prefix, folder, damage):
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"b/c", b"d"])
    put_all(etcd35.client, pairs)
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    agent.stop()
    assert runner.positions()["w"] > 0
    if damage == "removed":
        remove_tree(folder)
    else:
        for name in os.listdir(folder):
            remove_tree(os.path.join(folder, name))
    agent = runner.start()
    runner.wait_mirror(folder, root, pairs, alive=agent)
    assert agent.wait_synced()["watches"][0]["syncs"] == 1


def test_folder_replaced_by_another_mirrors_is_noticed(runner, etcd35, prefix, folder, tmp_path):
    """Positions belong to the folder they were earned in: an empty mirror put in its place has none."""
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"b"])
    put_all(etcd35.client, pairs)
    other = str(tmp_path / "other")
    agent = runner.start(etcd35, Watch("w", root, mirror=folder),
                         Watch("empty", root + b"nothing/", mirror=other))
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    agent.stop()
    remove_tree(folder)
    os.rename(other, folder)
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)


@pytest.mark.parametrize("damage", ["all", "contents", "own"])
def test_folder_lost_while_running_is_made_anew(runner, etcd35, prefix, folder, damage):
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"b/c", b"d"])
    put_all(etcd35.client, pairs)
    # Without its own folder its files look like somebody's.
    agent = runner.mirror(etcd35, prefix, folder, mirror_options={"mirror_adopt": damage == "own"})
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    if damage == "all":
        remove_tree(folder)
    elif damage == "contents":
        for name in os.listdir(folder):
            remove_tree(os.path.join(folder, name))
    else:
        remove_tree(os.path.join(folder, ".etchlet"))
    pairs[root + b"b/new"] = value(b"new")
    etcd35.client.put(root + b"b/new", value(b"new"))
    runner.wait_mirror(folder, root, pairs, 20, alive=agent)
    pairs[root + b"later"] = value(b"later")
    etcd35.client.put(root + b"later", value(b"later"))
    runner.wait_mirror(folder, root, pairs, 20, alive=agent)


def test_what_was_changed_by_hand_is_put_right_by_the_next_event(runner, etcd35, prefix, folder):
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"dir/b", b"dir/sub/c", b"d", b"e"])
    put_all(etcd35.client, pairs)
    agent = runner.mirror(etcd35, prefix, folder)
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    with open(os.path.join(folder, "a"), "w") as f:
        f.write("by hand")
    remove_tree(os.path.join(folder, "dir"))
    os.unlink(os.path.join(folder, "d"))
    os.mkdir(os.path.join(folder, "d"))
    with open(os.path.join(folder, "d", "inside"), "w") as f:
        f.write("by hand")
    os.unlink(os.path.join(folder, "e"))
    for name in (b"a", b"dir/b", b"dir/sub/c", b"d"):
        pairs[root + name] = value(b"again " + name)
        etcd35.client.put(root + name, pairs[root + name])
    position = etcd35.client.delete(root + b"e")
    del pairs[root + b"e"]
    agent.wait_position("w", position)
    for name in (b"a", b"dir/b", b"dir/sub/c"):
        with open(os.path.join(os.fsencode(folder), name), "rb") as f:
            assert f.read() == pairs[root + name]
    agent.stop()
    os.unlink(runner.state)
    agent = runner.start()
    runner.wait_mirror(folder, root, pairs, alive=agent)


# Modes and owners.


@pytest.mark.parametrize("mode, files, folders", [(None, 0o644, 0o755), ("0640", 0o640, 0o750), ("0600", 0o600, 0o700),
                                                  ("0444", 0o444, 0o555)])
def test_modes_do_not_depend_on_the_umask(runner, etcd35, prefix, folder, mode, files, folders):
    if folders == 0o555 and os.geteuid() != 0:
        pytest.skip("only root writes into a folder without the right to write")
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"b/c", b"both", b"both/x"])
    put_all(etcd35.client, pairs)
    agent = runner.mirror(etcd35, prefix, folder, preexec=lambda: os.umask(0o077),
                          mirror_options={"mirror_mode": mode})
    runner.wait_mirror(folder, root, pairs, alive=agent)
    agent.wait_synced()
    pairs[root + b"later/x"] = value(b"")
    etcd35.client.put(root + b"later/x", value(b""))
    pairs[root + b"a"] = value(b"2")
    etcd35.client.put(root + b"a", value(b"2"))
    runner.wait_mirror(folder, root, pairs, alive=agent)
    found = mirror_model.read(folder)
    for path in found.files:
        at = os.lstat(os.path.join(os.fsencode(folder), path))
        assert stat.S_IMODE(at.st_mode) == files, path
    if folders != 0o555:  # a folder that may not be written to would be of no use
        for path in found.folders:
            at = os.lstat(os.path.join(os.fsencode(folder), path))
            assert stat.S_IMODE(at.st_mode) == folders, path


@pytest.mark.parametrize("owner, uid, gid", [("1234:2345", 1234, 2345), ("nobody:nogroup", 65534, 65534),
                                             ("1234", 1234, None)])
def test_owner(runner, etcd35, prefix, folder, owner, uid, gid):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    root = prefix.encode()
    pairs = keyed(root, [b"a", b"b/c"])
    put_all(etcd35.client, pairs)
    agent = runner.mirror(etcd35, prefix, folder, mirror_options={"mirror_owner": owner, "mirror_mode": "0600"})
    runner.wait_mirror(folder, root, pairs, alive=agent)
    found = mirror_model.read(folder)
    for path in list(found.files) + sorted(found.folders):
        at = os.lstat(os.path.join(os.fsencode(folder), path))
        assert at.st_uid == uid and gid in (None, at.st_gid), path


# Disks.


def test_full_disk_holds_up_only_its_own_watch(runner, servers, disks, tmp_path):
    etcd = servers.etcd()
    disk = disks(str(tmp_path / "disk"), "256k")
    small, large = os.path.join(disk.path, "m"), str(tmp_path / "large")
    etcd.client.put(b"/a/k", value(b"old" * 1000))
    agent = runner.start(etcd, Watch("a", "/a/", mirror=small), Watch("b", "/b/", mirror=large))
    agent.wait_synced()
    runner.wait_mirror(small, b"/a/", {b"/a/k": value(b"old" * 1000)}, alive=agent)
    full = etcd.client.put(b"/a/k", value(b"new" * 200_000))
    found = agent.wait_watch("a", lambda w: w["last_error"] and w["sink_errors"] > 0, 15)
    assert "space" in found["last_error"].lower()
    etcd.client.put(b"/a/l", value(b"l"))
    pairs = {}
    for i in range(50):
        pairs[b"/b/%d" % i] = value(b"%d" % i)
        etcd.client.put(b"/b/%d" % i, pairs[b"/b/%d" % i])
    runner.wait_mirror(large, b"/b/", pairs, alive=agent)
    assert agent.watch("a")["position"] < full
    # The old file is as it was, as long as the new one finds no room.
    assert mirror_model.read(small).files == {b"k": value(b"old" * 1000)}
    cpu = agent.cpu_s()
    wait.holds_for(lambda: agent.is_running, 1, "the agent runs")
    assert agent.cpu_s() - cpu < 0.5, "it spins on the full disk"
    assert mirror_model.read(small).files == {b"k": value(b"old" * 1000)}
    disk.remount("size=4m")
    runner.wait_mirror(small, b"/a/", {b"/a/k": value(b"new" * 200_000), b"/a/l": value(b"l")}, alive=agent)
    agent.wait_stderr("works again|goes on|is over")


@pytest.mark.parametrize("has_print", [False, True])
def test_full_disk_after_what_was_equal(runner, etcd35, prefix, disks, tmp_path, has_print):
    """Its first bytes are those of the file, and the disk is full when they are copied."""
    disk, root = disks(str(tmp_path / "disk")), prefix.encode()
    folder = os.path.join(disk.path, "mirror")
    pairs = {root + b"a": b"x" * 3000}
    etcd35.client.put(root + b"a", b"x" * 3000)
    agent = runner.mirror(etcd35, prefix, folder,
                          mirror_options={"print": str(tmp_path / "out")} if has_print else None)
    runner.wait_mirror(folder, root, pairs, alive=agent)
    disk.fill()
    pairs[root + b"a"] = b"x" * 2999 + b"y"
    etcd35.client.put(root + b"a", pairs[root + b"a"])
    agent.wait_watch("w", lambda w: w["sink_errors"] > 1 and w["last_error"])
    disk.free()
    runner.wait_mirror(folder, root, pairs, 5, alive=agent)


def test_full_synchronisation_onto_a_full_disk(runner, servers, disks, tmp_path):
    etcd = servers.etcd()
    disk = disks(str(tmp_path / "disk"), "128k")
    folder = os.path.join(disk.path, "m")
    pairs = {b"/a/%02d" % i: value(b"%02d" % i * 10_000) for i in range(10)}
    for key, data in pairs.items():
        etcd.client.put(key, data)
    agent = runner.mirror(etcd, "/a/", folder)
    agent.wait_watch("w", lambda w: w["last_error"], 15)
    assert all(mirror_model.is_whole(v) for v in mirror_model.read(folder).files.values())
    disk.remount("size=4m")
    runner.wait_mirror(folder, b"/a/", pairs, alive=agent)
    agent.wait_synced()


def test_read_only_disk(runner, servers, disks, tmp_path):
    etcd = servers.etcd()
    disk = disks(str(tmp_path / "disk"), "1m")
    folder = os.path.join(disk.path, "m")
    etcd.client.put(b"/a/k", b"1")
    agent = runner.mirror(etcd, "/a/", folder)
    runner.wait_mirror(folder, b"/a/", {b"/a/k": b"1"}, alive=agent)
    agent.wait_synced()
    disk.remount("ro")
    etcd.client.put(b"/a/k", b"2")
    agent.wait_watch("w", lambda w: w["last_error"], 15)
    assert mirror_model.read(folder).files == {b"k": b"1"}
    # Started like that it runs too, and goes on when it can.
    agent.stop()
    agent = runner.start()
    agent.wait_watch("w", lambda w: w["last_error"], 15)
    disk.remount("rw")
    runner.wait_mirror(folder, b"/a/", {b"/a/k": b"2"}, alive=agent)


def test_read_only_disk_that_changed_while_down(runner, etcd35, prefix, disks, tmp_path):
    """Its record is void, and cannot be replaced: everything is compared all the same."""
    disk = disks(str(tmp_path / "disk"), "1m")
    folder, root = os.path.join(disk.path, "m"), prefix.encode()
    etcd35.client.put(root + b"k", b"1")
    agent = runner.mirror(etcd35, prefix, folder)
    agent.wait_synced()
    agent.stop()
    os.utime(os.path.join(folder, "k"), (1, 1))
    disk.remount("ro")
    agent = runner.start()
    agent.wait_stderr("not what it was when it was left: everything is listed")
    agent.wait_watch("w", lambda w: w["synced"] and w["syncs"] == 1)
    disk.remount("rw")
    etcd35.client.put(root + b"k", b"2")
    runner.wait_mirror(folder, root, {root + b"k": b"2"}, alive=agent)


# A server that does not answer well is not an empty one.


def test_denied_permission_keeps_the_mirror(runner, servers, version, folder):
    etcd = servers.etcd(version)
    proxy = servers.proxy(etcd)
    pairs = keyed(b"/m/", [b"a", b"b/c"])
    put_all(etcd.client, pairs)
    etcd.client.user_add("dev", "secret")
    etcd.client.role_add("reader")
    etcd.client.role_grant("reader", b"/m/", b"/m0", 0)
    etcd.client.user_grant_role("dev", "reader")
    etcd.enable_auth()
    agent = runner.mirror(proxy, "/m/", folder, user="dev:secret")
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)
    agent.wait_synced()
    etcd.client.role_revoke("reader", b"/m/", b"/m0")
    proxy.cut()
    agent.wait_watch("w", lambda w: w["last_error"], 15, "the denial is told")
    wait.holds_for(lambda: mirror_model.read(folder) == tree(b"/m/", pairs), 0.6, "the mirror stays")
    # The same without a position: what it would have to list, it may not read.
    agent.stop()
    os.unlink(runner.state)
    agent = runner.start()
    agent.wait_watch("w", lambda w: w["last_error"], 15, "the denial is told")
    wait.holds_for(lambda: mirror_model.read(folder) == tree(b"/m/", pairs), 0.6, "the mirror stays")
    etcd.client.role_grant("reader", b"/m/", b"/m0", 0)
    pairs[b"/m/new"] = b"new"
    etcd.client.put(b"/m/new", b"new")
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)


ERRORS = {
    "unknown without a word": lambda call: call.trailers_only(fake_etcd.UNKNOWN),
    "unavailable": lambda call: call.trailers_only(fake_etcd.UNAVAILABLE, "etcdserver: no leader"),
    "denied": lambda call: call.trailers_only(fake_etcd.PERMISSION_DENIED, "etcdserver: permission denied"),
    "unauthenticated": lambda call: call.trailers_only(fake_etcd.UNAUTHENTICATED, "etcdserver: invalid auth token"),
    "no message": lambda call: (call.send_headers(), call.send_trailers()),
    "http 503": lambda call: call.send_headers(status="503", content_type="text/html", end=True),
    "http 200 without anything": lambda call: call.send_headers(content_type="text/html", end=True),
    "reset": lambda call: call.reset(),
    "message, then an error": lambda call: (
        call.send_headers(), call.send_message(proto.range_response(call.server.header())),
        call.send_trailers(fake_etcd.UNKNOWN, "")),
    "empty message": lambda call: call.answer(b""),
}


@pytest.mark.parametrize("error", list(ERRORS))
def test_error_in_place_of_a_listing_keeps_the_mirror(runner, servers, folder, error):
    fake = servers.fake()
    pairs = keyed(b"/m/", [b"a", b"b/c", b"d"])
    for key, data in pairs.items():
        fake.put(key, data)
    agent = runner.mirror(fake, "/m/", folder)
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)
    agent.wait_synced()
    agent.stop()
    os.unlink(runner.state)
    before = mirror_model.inodes(folder)
    bad = []

    def listing_fails(call):
        call.request = proto.decode_range_request(call.message())
        if call.request.range_end:
            bad.append(call)
            ERRORS[error](call)
        else:
            call.answer(proto.range_response(fake.header(), fake.listing(call.request.key, b"", fake.revision)))
    fake.on["Range"] = listing_fails
    agent = runner.start()
    wait.until(lambda: len(bad) >= 2, 15, "it asks for the listing again and again")
    assert mirror_model.inodes(folder) == before
    answer = agent.status()
    assert answer["last_error"] or answer["watches"][0]["last_error"], "the trouble is told nowhere"
    del fake.on["Range"]
    fake.put(b"/m/e", b"1")
    pairs[b"/m/e"] = b"1"
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)


def test_listing_that_breaks_off_removes_nothing(runner, servers, folder):
    etcd = servers.etcd()
    pairs = {b"/m/%03d" % i: value(b"x" * 2000) for i in range(100)}
    put_all(etcd.client, pairs)
    agent = runner.mirror(etcd, "/m/", folder)
    runner.wait_mirror(folder, b"/m/", pairs, alive=agent)
    agent.stop()
    os.unlink(runner.state)
    etcd.client.delete(b"/m/000")
    proxy = servers.proxy(etcd)
    proxy.default = Plan(cut_down=60_000)
    agent = runner.mirror(proxy, "/m/", folder)
    wait.until(lambda: len(proxy.links) >= 4, 15, "it tries again and again")
    assert set(mirror_model.read(folder).files) >= {k[3:] for k in pairs if k != b"/m/000"}
    proxy.default = Plan()
    del pairs[b"/m/000"]
    runner.wait_mirror(folder, b"/m/", pairs, 20, alive=agent)


def test_position_and_mirror_agree_after_kills(runner, servers, folder):
    """What a saved position covers is in the folder, whenever the power is cut."""
    etcd = servers.etcd()
    agent = runner.mirror(etcd, "/m/", folder, state_interval="20ms")
    agent.wait_synced()
    chance = random.Random(3)
    written = {}
    for i in range(8):
        for _ in range(chance.randrange(5, 60)):
            key = b"/m/%d" % chance.randrange(20)
            written[etcd.client.put(key, value(b"%d" % i * chance.randrange(500)))] = key
        agent.kill()
        position = runner.positions().get("w", 0)
        assert position > 0
        files = mirror_model.read(folder).files
        for key in set(written.values()):
            newest = max((r for r, k in written.items() if k == key and r <= position), default=0)
            if newest:
                # The file holds the value of that revision, or a later one.
                allowed = {etcd.client.range(key, revision=r).kvs[0].value
                           for r, k in written.items() if k == key and r >= newest}
                assert files.get(key[3:]) in allowed, (key, newest, position)
        agent = runner.start()
    runner.wait_mirror(folder, b"/m/", pairs_of(etcd, b"/m/", b"/m0"), alive=agent)

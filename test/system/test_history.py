# SPDX-License-Identifier: Apache-2.0
"""
Random histories against a model: puts, deletes, transactions and compactions at a real etcd, cuts at
the network, clean stops and kills of the agent, from a seed that replays.
"""

import os
import random
import signal

import pytest

from harness import wait
from harness.agent import key_of, value_of
from harness.proxy import Plan

SEEDS = [int(s) for s in os.environ.get("ETCHLET_SEEDS", "1,2,3,4,5,6").split(",")]


class Writer:
    """Writes a random history below k and elsewhere, and remembers it."""

    def __init__(self, chance, etcd):
        self.chance = chance
        self.etcd = etcd
        self.live = set()
        self.history = {}  # revision: {key: value or None}
        self.compacted = 0

    def step(self):
        chance = self.chance
        kind = chance.random()
        if kind < 0.1:
            self.etcd.client.put(b"elsewhere", b"v")
            return
        size = 1 if kind < 0.75 else chance.randrange(2, 30)
        changes = {}
        for _ in range(size):
            key = b"k/%03d" % chance.randrange(120)
            if key in self.live and chance.random() < 0.35:
                changes[key] = None
            else:
                length = chance.choice([0, 3, 30, 300, 3000, 20_000, 70_000])
                changes[key] = bytes([chance.randrange(256)]) * length
        revision = self.etcd.client.txn(
            [("delete", k) if v is None else ("put", k, v) for k, v in changes.items()])
        self.history[revision] = changes
        for key, value in changes.items():
            (self.live.discard if value is None else self.live.add)(key)

    def compact(self):
        revision = self.etcd.client.revision()
        if revision > self.compacted:
            self.etcd.client.compact(revision)
            self.compacted = revision


class Replica:
    """What a consumer of the lines would hold, and the promises it relies on."""

    def __init__(self, writer, position):
        self.writer = writer
        self.keys = {}
        self.position = position  # every event up to here was seen
        self.staged = None
        self.partial = {}
        self.was_clean = True

    def feed_run(self, events, is_end_clean):
        """The lines of one run of the agent."""
        started = False
        for event in events:
            if event["type"] == "sync":
                self.staged, self.partial = {}, {}
            elif event["type"] == "synced":
                self.keys, self.staged = self.staged, None
                self.position = event["revision"]
                started = True
            elif self.staged is not None:
                self.staged[key_of(event)] = value_of(event)
            else:
                self.event(event, started)
                started = True
        self.staged = None
        self.partial = {}
        # A clean stop saves what that run has processed: nothing, when it printed nothing.
        self.was_clean = is_end_clean and (started or self.was_clean)

    def event(self, event, started):
        revision, key = event["mod_revision"], key_of(event)
        if not started:
            # A run begins at or before what was seen, at the start of a revision, never after it.
            self.partial = {}
            expected = self.next_after(self.position)
            assert revision <= expected, f"began at {revision}, expected {expected} at the latest"
            assert revision == expected or not self.was_clean, f"{revision} again after a clean stop"
            self.position = revision - 1
        if not self.partial:
            expected = self.next_after(self.position)
            assert revision == expected, f"revision {revision} came, {expected} is next"
            self.partial = dict(self.writer.history[revision])
            self.revision = revision
        assert revision == self.revision, "a revision was left before its end"
        assert key in self.partial, f"{key!r} twice or never in revision {revision}"
        value = self.partial.pop(key)
        if value is None:
            assert event["type"] == "delete"
            self.keys.pop(key, None)
        else:
            assert event["type"] == "put" and value_of(event) == value
            self.keys[key] = value
        if not self.partial:
            self.position = revision

    def next_after(self, position):
        following = [r for r in self.writer.history if r > position]
        return min(following) if following else None


@pytest.mark.parametrize("seed", SEEDS)
def test_random_history_is_followed(etchlet, servers, state, seed):
    chance = random.Random(seed)
    version = chance.choice(["3.4", "3.5", "3.5-latest"])
    etcd = servers.etcd(version)
    proxy = servers.proxy(etcd)
    writer = Writer(chance, etcd)
    replica = Replica(writer, 1)
    with_compaction = seed % 2 == 0
    words = ["--state", state, "--state-interval=200ms", "--rev=2", "--probe-interval=200ms",
             "--idle-after=500ms", "--prefix", "k/"]
    for _ in range(8):
        for _ in range(chance.randrange(3)):
            proxy.plans.append(Plan(cut_down=chance.randrange(50, 400_000), rst=chance.random() < 0.3,
                                    segment=chance.choice([50, 1000, 65536])))
        for _ in range(chance.randrange(40)):
            writer.step()
        if with_compaction and chance.random() < 0.5:
            writer.compact()
        agent = etchlet.watch(proxy, *words)
        for _ in range(chance.randrange(60)):
            writer.step()
            if chance.random() < 0.05:
                proxy.cut(chance.random() < 0.5)
            if with_compaction and chance.random() < 0.03:
                writer.compact()
        end = chance.random()
        if end < 0.4:
            agent.kill()
        else:
            if end < 0.7:
                catch_up(agent, replica, writer)
            agent.stop(chance.choice([signal.SIGTERM, signal.SIGINT]))
        replica.feed_run(agent.events(), end >= 0.4)
    proxy.plans.clear()
    agent = etchlet.watch(proxy, *words)
    writer.step()
    last = writer.etcd.client.put(b"k/end", b"end")
    writer.history[last] = {b"k/end": b"end"}

    def is_there(event):
        return event.get("mod_revision") == last or event.get("revision", 0) >= last
    agent.wait_event(is_there, 30)
    wait.until(lambda: agent.events()[-1]["type"] not in ("sync",) and not agent.events()[-1].get("sync"),
               10, "the listing ends")
    agent.stop()
    replica.feed_run(agent.events(), True)
    assert replica.keys == {kv.key: kv.value for kv in etcd.client.range(b"k/", b"k0").kvs}
    assert replica.position == last


def catch_up(agent, replica, writer):
    """Waits until the newest revision was printed, or listed."""
    last = max(writer.history, default=0)
    if last > replica.position:
        agent.wait_event(lambda e: e.get("mod_revision", 0) >= last
                         or e["type"] == "synced" and e["revision"] >= last, 30)

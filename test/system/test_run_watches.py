# SPDX-License-Identifier: Apache-2.0
"""
Several watches of one `etchlet run`: one connection and one stream for all, each with its own position,
sinks and trouble.
"""

import errno
import json
import os
import random
import threading
import time

import pytest

from harness import hook as hook_module
from harness import mirror_model, wait
from harness.agent import parse
from harness.config import Watch
from harness.mirror_model import tree, value
from harness.run_agent import IDLE

WATCHES_MAX = 16


@pytest.fixture
def hook(tmp_path):
    return hook_module.Hook(str(tmp_path / "hook"))


def lines_of(path):
    """The whole lines of a print file, parsed."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as f:
        return [parse(line) for line in f.read().split(b"\n")[:-1]]


def events_of(lines, watch=None):
    return [e for e in lines if e["type"] in ("put", "delete") and "sync" not in e and watch in (None, e["watch"])]


def is_parked(fake, key):
    """The agent has cancelled its watch of the key."""
    mine = [w for w in fake.watches if w.key == key]
    return bool(mine) and not mine[-1].is_live


class Fifo:
    """A FIFO and its reader, who reads when told to."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self.fd = None
        self.data = bytearray()
        self.thread = None
        self.pause_s = 0.0
        self.closing = False

    def open(self, pause_s=0.0):
        """Begins to read, with a pause after each 4 KiB."""
        self.pause_s = pause_s
        self.closing = False
        self.fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closing:
            try:
                piece = os.read(self.fd, 4096)
            except BlockingIOError:
                piece = b""
            self.data += piece
            time.sleep(self.pause_s if piece else 0.005)

    def close(self):
        self.closing = True
        if self.thread is not None:
            self.thread.join(5)
            os.close(self.fd)
            self.thread = None

    def lines(self):
        return [parse(line) for line in bytes(self.data).split(b"\n")[:-1]]


@pytest.fixture
def fifo(tmp_path):
    made = Fifo(str(tmp_path / "fifo"))
    yield made
    made.close()


def test_sixteen_watches_on_one_stream(runner, servers, etchlet, tmp_path):
    fake = servers.fake()
    lines = [str(tmp_path / f"lines-{i}") for i in range(WATCHES_MAX)]
    agent = runner.start(fake, *(Watch(f"w{i}", f"k{i:02d}/", print=lines[i]) for i in range(WATCHES_MAX)))
    agent.wait_synced()
    wait.until(lambda: sum(w.is_live for w in fake.watches) == WATCHES_MAX, 5, "all watches are live")
    revisions = {i: [] for i in range(WATCHES_MAX)}
    chance = random.Random(1)
    for _ in range(300):
        i = chance.randrange(WATCHES_MAX)
        revisions[i].append(fake.put(b"k%02d/x" % i, b"v"))
    for i in range(WATCHES_MAX):
        if revisions[i]:
            agent.wait_position(f"w{i}", revisions[i][-1])
        assert [e["mod_revision"] for e in events_of(lines_of(lines[i]), f"w{i}")] == revisions[i]
    assert len(fake.connections) == 1
    assert len(fake.calls_of("Watch")) == 1, "more than one Watch stream"
    creates = [r.create.key for c in fake.calls_of("Watch") for r in c.requests if r.create is not None]
    assert sorted(creates) == [b"k%02d/" % i for i in range(WATCHES_MAX)], "a watch was created twice"
    if not etchlet.is_sanitized:
        assert agent.peak_kb() < 4096
    # All of them are in the state file after a stop.
    agent.stop()
    positions = runner.positions()
    assert set(positions) == {f"w{i}" for i in range(WATCHES_MAX)}
    for i in range(WATCHES_MAX):
        if revisions[i]:
            assert positions[f"w{i}"] >= revisions[i][-1]
    # And are where it goes on: nothing is listed, nothing comes again.
    pages = fake.pages
    agent = runner.start()
    agent.wait_synced()
    last = [fake.put(b"k%02d/x" % i, b"again") for i in range(WATCHES_MAX)]
    for i in range(WATCHES_MAX):
        agent.wait_position(f"w{i}", last[i])
        assert [e["mod_revision"] for e in events_of(lines_of(lines[i]))] == revisions[i] + [last[i]]
    assert fake.pages == pages, "a listing although the position was known"


def test_state_shows_every_watch_with_its_own_position(runner, servers, tmp_path):
    etcd = servers.etcd()
    lines = [str(tmp_path / n) for n in "abc"]
    agent = runner.start(etcd, *(Watch(n, f"{n}/", print=lines[i]) for i, n in enumerate("abc")),
                         probe_interval="60s", idle_after="600s")
    agent.wait_synced()
    a = etcd.client.put(b"a/1", b"")
    b = etcd.client.put(b"b/1", b"")
    agent.wait_position("a", a)
    agent.wait_position("b", b)
    agent.stop()
    positions = runner.positions()
    assert positions["a"] == a and positions["b"] == b and positions["c"] < a
    text = runner.etchlet.run("state", runner.state).stdout.decode()
    for name in "abc":
        assert str(positions[name]) in text


@pytest.mark.parametrize("busy", ["hook", "fifo without reader", "fifo with a slow reader"])
def test_busy_watch_is_parked_and_the_others_go_on(runner, servers, etchlet, hook, fifo, tmp_path, busy):
    fake = servers.fake()
    good = str(tmp_path / "good")
    if busy == "hook":
        hook.plan({"gate": "gate"})
        sink = {"exec": hook.command}
    else:
        sink = {"print": fifo.path}
        if busy == "fifo with a slow reader":
            fifo.open(0.5)
    agent = runner.start(fake, Watch("busy", "a/", **sink), Watch("good", "b/", print=good))
    agent.wait_watch("good", lambda w: w["synced"])
    wanted = {"a": [], "b": []}
    before = agent.rss_kb()
    for i in range(200):
        wanted["a"].append(fake.put(b"a/%d" % (i % 20), b"x" * 10_000))
        wanted["b"].append(fake.put(b"b/%d" % i, b"y"))
    agent.wait_position("good", wanted["b"][-1], 15)
    assert [e["mod_revision"] for e in events_of(lines_of(good))] == wanted["b"]
    found = agent.watch("busy")
    assert (found["position"] or 0) < wanted["a"][-1]
    if not etchlet.is_sanitized:
        assert agent.rss_kb() - before < 400, "2 MB of events wait in memory"
    # Its trouble costs the server nothing either: no create and cancel over and over.
    creates = sum(r.create is not None for c in fake.calls_of("Watch") for r in c.requests)
    assert creates < 25, f"{creates} watches were created"
    if busy == "hook":
        hook.open_gate()
        agent.wait_position("busy", wanted["a"][-1], 20)
        got = [e for r in hook.ended() for e in r.events]
        hook.assert_one_at_a_time()
    else:
        # The slow one is not closed: what is in the pipe would be gone with it.
        if fifo.fd is None:
            fifo.open()
        fifo.pause_s = 0
        agent.wait_position("busy", wanted["a"][-1], 20)
        wait.until(lambda: fifo.lines() and fifo.lines()[-1].get("mod_revision") == wanted["a"][-1], 10,
                   "the last line comes out of the FIFO")
        got = fifo.lines()
    listed = max((e["mod_revision"] for e in got if "sync" in e or e["type"] == "synced" and "mod_revision" in e),
                 default=0)
    synced = max([e["revision"] for e in got if e["type"] == "synced"], default=listed)
    got = [e["mod_revision"] for e in events_of(got)]
    assert got == [r for r in wanted["a"] if r > synced], "lost, twice or out of order"
    assert len(fake.connections) == 1


def test_parked_watch_costs_no_traffic(runner, servers, hook):
    """What comes for it is cancelled at the server, not passed over for ever."""
    fake = servers.fake()
    hook.plan({}, r2={"gate": "gate"})
    agent = runner.start(fake, Watch("busy", "a/", exec=hook.command), Watch("good", "b/", exec=["/bin/true"]))
    agent.wait_synced()
    fake.put(b"a/1", b"")
    hook.wait_input(2)
    for i in range(5):
        fake.put(b"a/%d" % i, b"z" * 50_000)
    wait.until(lambda: any(r.cancel_id is not None for c in fake.calls_of("Watch") for r in c.requests), 10,
               "the busy watch is cancelled at the server")
    last = fake.put(b"b/1", b"")
    agent.wait_position("good", last)
    hook.open_gate()
    end = fake.put(b"a/end", b"")
    agent.wait_position("busy", end)
    events = [e["mod_revision"] for r in hook.ended() for e in r.events]
    assert events == [e.kv.mod_revision for e in fake.history if e.kv.key.startswith(b"a/")]
    assert len(fake.calls_of("Watch")) == 1


def test_each_sink_gets_each_event_once_although_they_differ(runner, servers, hook, fifo, tmp_path):
    """Mirror, FIFO and hook of one watch: the slowest sets the position, the mirror stays up to date."""
    etcd = servers.etcd()
    folder = str(tmp_path / "m")
    lines = str(tmp_path / "lines")
    hook.plan({"sleep_s": 0.05})
    agent = runner.start(etcd, Watch("w", "k/", mirror=folder, print=lines, exec=hook.command))
    agent.wait_synced()
    wanted, pairs = [], {}
    for i in range(150):
        key = b"k/%d" % (i % 9)
        pairs[key] = value(b"%d" % i * 50)
        wanted.append(etcd.client.put(key, pairs[key]))
    mirror_model.wait_equal(folder, tree(b"k/", pairs), 10, agent)
    agent.wait_position("w", wanted[-1], 20)
    assert [e["mod_revision"] for e in events_of(lines_of(lines))] == wanted
    assert [e["mod_revision"] for r in hook.ended() for e in r.events] == wanted


def test_random_trouble_of_sinks_loses_and_repeats_nothing(runner, servers, hook, tmp_path):
    """Hooks that fail and take their time, cuts at the network: exactly once within the run."""
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    chance = random.Random(11)
    hook.plan({"sleep_s": 0.01}, **{f"r{n}": {"exit": 1} for n in range(2, 40, 3)})
    lines = {n: str(tmp_path / n) for n in ("a", "b")}
    folder = str(tmp_path / "m")
    agent = runner.start(proxy, Watch("a", "a/", print=lines["a"], exec=hook.command),
                         Watch("b", "b/", print=lines["b"], mirror=folder))
    agent.wait_synced()
    wanted = {"a": [], "b": []}
    for i in range(250):
        name = chance.choice("ab")
        keys = [f"{name}/{chance.randrange(30)}".encode() for _ in range(chance.randrange(1, 4))]
        wanted[name].append((etcd.client.txn([("put", k, value(b"x" * chance.randrange(3000))) for k in set(keys)]),
                             len(set(keys))))
        if chance.random() < 0.04:
            proxy.cut(chance.random() < 0.5)
            wait.until(lambda: len(proxy.live) or not agent.is_running, 5, "a new connection", 0.005)
    for name in "ab":
        agent.wait_position(name, wanted[name][-1][0], 25)
        got = [e["mod_revision"] for e in events_of(lines_of(lines[name]), name)]
        assert got == [r for r, n in wanted[name] for _ in range(n)], f"the printed lines of {name}"
    done = [e["mod_revision"] for r in hook.ended() for e in r.events if r.number not in range(2, 40, 3)]
    assert done == [r for r, n in wanted["a"] for _ in range(n)], "what successful runs of the hook were given"


def test_denied_key_holds_up_only_its_own_watch(runner, servers, version, tmp_path):
    etcd = servers.etcd(version)
    etcd.client.user_add("dev", "secret")
    etcd.client.role_add("reader")
    etcd.client.role_grant("reader", b"open/", b"open0", 0)
    etcd.client.user_grant_role("dev", "reader")
    etcd.client.put(b"closed/k", b"1")
    etcd.enable_auth()
    lines, folder = str(tmp_path / "lines"), str(tmp_path / "m")
    agent = runner.start(etcd, Watch("closed", "closed/", mirror=folder), Watch("open", "open/", print=lines),
                         user="dev:secret")
    agent.wait_watch("open", lambda w: w["synced"])
    found = agent.wait_watch("closed", lambda w: w["last_error"])
    assert "permission" in found["last_error"].lower() and not found["synced"]
    reconnects = agent.status()["reconnects"]
    last = None
    for i in range(50):
        last = etcd.client.put(b"open/%d" % i, b"")
    agent.wait_position("open", last)
    assert len(events_of(lines_of(lines))) == 50
    assert agent.status()["reconnects"] == reconnects, "one denied watch tears down the connection of all"
    etcd.client.role_grant("reader", b"closed/", b"closed0", 0)
    mirror_model.wait_equal(folder, tree(b"closed/", {b"closed/k": b"1"}), 15, agent)
    agent.wait_watch("closed", lambda w: w["synced"])
    assert len(events_of(lines_of(lines))) == 50


def test_compaction_of_one_watch_lists_only_that_one(runner, servers, tmp_path):
    etcd = servers.etcd()
    lines = {n: str(tmp_path / n) for n in ("old", "new")}
    watches = [Watch(n, f"{n}/", print=lines[n]) for n in ("old", "new")]
    agent = runner.start(etcd, *watches, probe_interval="60s", idle_after="600s")
    agent.wait_synced()
    agent.stop()
    # Only the other one runs for a while.
    agent = runner.start(etcd, watches[1])
    agent.wait_synced()
    for i in range(5):
        last = etcd.client.put(b"new/1", b"")
    agent.wait_position("new", last)
    agent.stop()
    etcd.client.compact(etcd.client.revision())
    agent = runner.start(etcd, *watches)
    agent.wait_watch("old", lambda w: w["synced"] and w["syncs"])
    agent.wait_synced()
    found = {w["name"]: w for w in agent.status()["watches"]}
    assert (found["old"]["syncs"], found["old"]["last_sync_reason"]) == (1, "compacted")
    assert found["new"]["syncs"] == 0
    assert len(events_of(lines_of(lines["new"]))) == 5


@pytest.mark.parametrize("overlap", ["same", "inside"])
def test_overlapping_ranges(runner, servers, tmp_path, overlap):
    etcd = servers.etcd()
    second = "k/" if overlap == "same" else "k/in/"
    lines = {n: str(tmp_path / n) for n in ("a", "b")}
    agent = runner.start(etcd, Watch("a", "k/", print=lines["a"]), Watch("b", second, print=lines["b"]))
    agent.wait_synced()
    revisions = [etcd.client.put(b"k/in/%d" % i, b"") for i in range(50)]
    for name in "ab":
        agent.wait_position(name, revisions[-1])
        assert [e["mod_revision"] for e in events_of(lines_of(lines[name]), name)] == revisions


def test_two_watches_print_whole_lines_to_one_file(runner, servers, tmp_path):
    etcd = servers.etcd()
    shared = str(tmp_path / "shared")
    agent = runner.start(etcd, Watch("a", "a/", print=shared), Watch("b", "b/", print=shared))
    agent.wait_synced()
    wanted = {"a": [], "b": []}
    chance = random.Random(2)
    for i in range(120):
        name = chance.choice("ab")
        wanted[name].append(etcd.client.put(f"{name}/{i}".encode(), b"\xfe" * chance.choice([1, 5000, 60_000])))
    for name in "ab":
        agent.wait_position(name, wanted[name][-1])
    for name in "ab":
        assert [e["mod_revision"] for e in events_of(lines_of(shared), name)] == wanted[name]


def test_two_watches_print_to_standard_output(runner, servers):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("a", "a/", print="-"), Watch("b", "b/", print="-"))
    agent.wait_synced()
    wanted = []
    for i in range(100):
        wanted.append(("ab"[i % 2], etcd.client.put(b"%c/%d" % (b"ab"[i % 2], i), b"\xfe" * 20_000)))
    for name in "ab":
        agent.wait_position(name, [r for n, r in wanted if n == name][-1])
    wait.until(lambda: len(events_of(agent.events())) >= 100, 5, "all lines")
    for name in "ab":
        assert [e["mod_revision"] for e in events_of(agent.events(), name)] == [r for n, r in wanted if n == name]
    line = agent.out.lines()[0]
    assert line.startswith(b'{"watch":"a","type":"sync"') or line.startswith(b'{"watch":"b","type":"sync"')


def test_print_file_is_appended_to_and_a_torn_line_is_cut(runner, servers, tmp_path):
    etcd = servers.etcd()
    path = str(tmp_path / "lines")
    with open(path, "w") as f:
        f.write('{"type":"put","key":"earlier"}\n{"type":"put","key":"to')
    agent = runner.start(etcd, Watch("w", "k/", print=path))
    agent.wait_synced()
    last = etcd.client.put(b"k/a", b"1")
    agent.wait_position("w", last)
    lines = lines_of(path)
    assert lines[0] == {"type": "put", "key": "earlier"}
    assert [e["type"] for e in lines[1:]] == ["sync", "synced", "put"]


def test_kill_in_the_middle_of_a_print_file(runner, servers, tmp_path):
    etcd = servers.etcd()
    path = str(tmp_path / "lines")
    agent = runner.start(etcd, Watch("w", "k/", print=path))
    agent.wait_synced()
    runner.wait_saved("w", 1)
    wanted = []
    for round_number in range(5):
        wanted += [etcd.client.put(b"k/%d" % i, b"\xfe" * 40_000) for i in range(20)]
        if round_number % 2:
            wait.until(lambda: os.path.getsize(path) > 10_000, 5, "lines")
        agent.kill()
        agent = runner.start()
    agent.wait_position("w", wanted[-1])
    order = []
    for event in events_of(lines_of(path)):
        if event["mod_revision"] not in order:
            order.append(event["mod_revision"])
    assert order == wanted, "lost or out of order (a repetition after a crash is allowed)"


def test_fifo_that_loses_its_reader(runner, servers, fifo):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=fifo.path))
    fifo.open()
    agent.wait_synced()
    first = etcd.client.put(b"k/1", b"")
    agent.wait_position("w", first)
    fifo.close()
    revisions = [etcd.client.put(b"k/%d" % i, b"") for i in range(20)]
    wait.holds_for(lambda: agent.is_running, 0.5, "the agent runs on without the reader")
    fifo.open()
    agent.wait_position("w", revisions[-1])
    seen = []
    wait.until(lambda: fifo.lines() and fifo.lines()[-1].get("mod_revision") == revisions[-1], 5, "the last line")
    for event in events_of(fifo.lines()):
        if event["mod_revision"] not in seen:
            seen.append(event["mod_revision"])
    # What was written into the FIFO while its reader closed is gone with it; nothing else is.
    assert [r for r in seen if r > first] == revisions or seen[-19:] == revisions[-19:]


def test_fifo_is_not_made_nor_replaced(runner, servers, fifo):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=fifo.path), Watch("other", "o/", exec=["/bin/true"]))
    agent.wait_watch("other", lambda w: w["synced"])
    with pytest.raises(OSError) as caught:
        os.open(fifo.path, os.O_WRONLY | os.O_NONBLOCK)
    assert caught.value.errno == errno.ENXIO, "somebody reads from the FIFO"
    agent.stop(within_s=1.0)


def test_print_folder_missing_then_there(runner, servers, tmp_path):
    etcd = servers.etcd()
    path = str(tmp_path / "later" / "lines")
    etcd.client.put(b"k/a", b"1")
    agent = runner.start(etcd, Watch("w", "k/", print=path), Watch("other", "o/", exec=["/bin/true"]))
    agent.wait_watch("other", lambda w: w["synced"])
    wait.until(lambda: not agent.is_running or (agent.watch("w") or {}).get("last_error"), 10, "the trouble is told")
    assert agent.is_running, "a missing folder ends the agent of all watches: " + agent.tail()
    os.makedirs(tmp_path / "later")
    agent.wait_synced()
    assert [e["type"] for e in lines_of(path)] == ["sync", "put", "synced"]


def test_mirror_in_trouble_holds_up_only_its_own(runner, servers, tmp_path):
    """A file stands where the mirror's folder has to be."""
    etcd = servers.etcd()
    lines = str(tmp_path / "lines")
    etcd.client.put(b"a/k", b"1")
    folder = str(tmp_path / "parent" / "mirror")
    agent = runner.start(etcd, Watch("a", "a/", mirror=folder), Watch("b", "b/", print=lines))
    agent.wait_watch("b", lambda w: w["synced"])
    last = etcd.client.put(b"b/k", b"1")
    agent.wait_position("b", last)
    os.makedirs(tmp_path / "parent", exist_ok=True)
    mirror_model.wait_equal(folder, tree(b"a/", {b"a/k": b"1"}), 15, agent)


def test_a_flow_of_too_long_values_is_told_now_and_then(runner, etcd35, prefix, tmp_path):
    agent = runner.start(etcd35, Watch("w", prefix, print=str(tmp_path / "out")), max_value="1K")
    agent.wait_synced()
    for _ in range(30):
        etcd35.client.put(os.fsencode(prefix) + b"long", b"x" * 2000)
    agent.wait_watch("w", lambda w: w["too_long"] == 30)
    assert agent.stderr().count(b"more than --max-value") == 1


def test_too_long_and_unknown_are_counted(runner, servers, tmp_path):
    fake = servers.fake()
    lines = str(tmp_path / "lines")
    agent = runner.start(fake, Watch("w", "k/", print=lines), max_value="1K")
    agent.wait_synced()
    fake.put(b"k/" + b"l" * 5000, b"")
    fake.put(b"k/long", b"v" * 2000)
    last = fake.put(b"k/end", b"")
    agent.wait_position("w", last)
    found = agent.watch("w")
    assert found["too_long"] == 2 and found["last_skipped"] == "k/long"
    assert [e["key"] for e in events_of(lines_of(lines))] == ["k/end"]


def test_watch_names_are_in_every_line(runner, servers, tmp_path):
    etcd = servers.etcd()
    lines = str(tmp_path / "lines")
    etcd.client.put(b"k/a", b"1")
    agent = runner.start(etcd, Watch("a-Name_1.2", "k/", print=lines))
    agent.wait_synced()
    agent.wait_position("a-Name_1.2", etcd.client.put(b"k/b", b"1"))
    with open(lines, "rb") as f:
        for line in f:
            assert line.startswith(b'{"watch":"a-Name_1.2","type":"'), line
            json.loads(line)


def test_idle_watches_move_on_and_busy_ones_do_not(runner, servers, hook, tmp_path):
    """Each by its own silence: the one that a hook holds up stays, whatever the probes say."""
    etcd = servers.etcd()
    hook.plan({}, r2={"gate": "gate"})
    agent = runner.start(etcd, Watch("idle", "a/", print=str(tmp_path / "lines")),
                         Watch("held", "b/", exec=hook.command), **IDLE)
    agent.wait_synced()
    held = etcd.client.put(b"b/1", b"")
    hook.wait_input(2)
    last = held
    for i in range(10):
        last = etcd.client.put(b"elsewhere", b"")
    agent.wait_position("idle", last)
    assert agent.watch("held")["position"] < held
    hook.open_gate()
    agent.wait_position("held", last)

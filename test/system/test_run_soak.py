# SPDX-License-Identifier: Apache-2.0
"""`etchlet run` under load for a while: reloads, reconnections, very many events; nothing adds up."""

import random
import signal
import threading
import time

from harness import hook as hook_module
from harness import mirror_model, wait
from harness.agent import parse
from harness.config import Watch
from harness.folders import memory_dir  # noqa: F401 (a fixture)
from harness.mirror_model import tree, value
from harness.proxy import Plan


def lines_of(path):
    with open(path, "rb") as f:
        return [parse(line) for line in f.read().split(b"\n")[:-1]]


def revisions_of(path):
    return [e["mod_revision"] for e in lines_of(path) if e["type"] in ("put", "delete") and "sync" not in e]


def test_reload_under_load(runner, servers, tmp_path):
    """SIGHUP every 200 ms, each with another file: nothing lost or twice, what stays is left alone."""
    fake = servers.fake()
    hook = hook_module.Hook(str(tmp_path / "hook"))
    lines = {n: str(tmp_path / n) for n in ("stays", "comes")}
    stays = [Watch("stays", "a/", print=lines["stays"]), Watch("hooked", "b/", exec=hook.command, settle="50ms")]
    comes = Watch("comes", "c/", print=lines["comes"])
    agent = runner.start(fake, *stays)
    agent.wait_synced()
    wait.until(lambda: sum(w.is_live for w in fake.watches) == 2, 5, "both are live")
    wanted = {"a": [], "b": [], "c": []}
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            name = "abc"[i % 3]
            wanted[name].append(fake.put(f"{name}/{i % 40}".encode(), value(b"x" * (i % 7) * 300)))
            i += 1
            time.sleep(0.002)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for i in range(25):
            if i % 5 == 4:
                with open(runner.config, "a") as f:
                    f.write("[watch broken\n")  # a bad file changes nothing
            elif i % 2:
                runner.configure(fake, *stays, comes)
            else:
                runner.configure(fake, *stays, log_level="info" if i % 4 else "warn")
            begin = time.monotonic()
            agent.send_signal(signal.SIGHUP)
            if i % 5 != 4 and i % 2:
                agent.wait_watch("comes", lambda w: True, 5, "the new watch is there")
            time.sleep(max(0, begin + 0.2 - time.monotonic()))
    finally:
        stop.set()
        writer.join(5)
    runner.configure(fake, *stays, comes)
    agent.send_signal(signal.SIGHUP)
    agent.wait_watch("comes", lambda w: w["synced"])
    for name, key in (("stays", "a"), ("hooked", "b"), ("comes", "c")):
        agent.wait_position(name, wanted[key][-1], 15)
    assert revisions_of(lines["stays"]) == wanted["a"]
    # One batch at a time may have been with the hook when it was asked; it is not given twice.
    events = [e["mod_revision"] for r in hook.ended() for e in r.events]
    assert events == wanted["b"]
    # The one that came and went: what came while it was there, and from its position on afterwards.
    listed = [e for e in lines_of(lines["comes"]) if e["type"] == "sync"]
    got = revisions_of(lines["comes"])
    assert got == sorted(set(got)), "twice or out of order"
    assert [r for r in wanted["c"] if r > listed[-1]["revision"]] == [r for r in got if r > listed[-1]["revision"]]
    assert len(listed) == 1, "it had a position, and was listed again"
    assert len(fake.connections) == 1, "a reload that changes neither endpoints nor credentials reconnects"
    creates = [r.create.key for c in fake.calls_of("Watch") for r in c.requests if r.create is not None]
    assert creates.count(b"a/") == 1, "a watch that did not change was created anew"


def test_reload_of_the_mirror_under_load(runner, servers, memory_dir):
    etcd = servers.etcd()
    folder, other = memory_dir + "/m", memory_dir + "/extra"
    agent = runner.start(etcd, Watch("w", "k/", mirror=folder))
    agent.wait_synced()
    before = agent.rss_kb()
    pairs = {}
    end = time.monotonic() + 3
    i = 0
    last_reload = 0
    while time.monotonic() < end:
        key = b"k/%d" % (i % 50)
        pairs[key] = value(b"%d" % i * 100)
        etcd.client.put(key, pairs[key])
        if time.monotonic() - last_reload > 0.2:
            last_reload = time.monotonic()
            extra = [Watch("extra", "k/", mirror=other)] if i % 2 else []
            runner.configure(etcd, Watch("w", "k/", mirror=folder), *extra)
            agent.send_signal(signal.SIGHUP)
        i += 1
    mirror_model.wait_equal(folder, tree(b"k/", pairs), 10, agent)
    runner.configure(etcd, Watch("w", "k/", mirror=folder), Watch("extra", "k/", mirror=other))
    agent.send_signal(signal.SIGHUP)
    mirror_model.wait_equal(other, tree(b"k/", pairs), 10, agent)
    found = agent.watch("w")
    assert found["syncs"] == 1, "a watch that did not change was listed again"
    if not runner.etchlet.is_sanitized:
        assert agent.peak_kb() < 4096
        assert agent.rss_kb() - before < 600, "reloads add up"


def test_two_hundred_reconnections_leak_nothing(runner, servers, tmp_path):
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    chance = random.Random(4)
    folder, lines = str(tmp_path / "m"), str(tmp_path / "lines")
    agent = runner.start(proxy, Watch("m", "a/", mirror=folder), Watch("p", "b/", print=lines),
                         Watch("h", "c/", exec=["/bin/true"]), backoff_min="1ms", backoff_max="20ms")
    agent.wait_synced()
    wanted, pairs = [], {}
    fds = early = None
    for i in range(200):
        kind = i % 4
        if kind == 1:
            proxy.plans.append(Plan(cut_down=chance.randrange(20, 3000), rst=chance.random() < 0.5))
        elif kind == 2:
            proxy.plans.append(Plan(accept_and_close=True))
        seen = len(proxy.links)
        proxy.cut(kind == 3)
        wait.until(lambda: len(proxy.links) > seen, 5, "the next connection", 0.002)
        if kind == 0:
            agent.wait_status(lambda s: s["connected"])  # this one is let live, so that its end counts
        if i % 10 == 0:
            pairs[b"a/%d" % (i % 7)] = value(b"%d" % i)
            etcd.client.put(b"a/%d" % (i % 7), pairs[b"a/%d" % (i % 7)])
            wanted.append(etcd.client.put(b"b/k", b"%d" % i))
            etcd.client.put(b"c/k", b"%d" % i)
        if i == 40:
            agent.wait_position("p", wanted[-1], 15)
            fds, early = len(agent.fds()), agent.rss_kb()
    proxy.plans.clear()
    agent.wait_position("p", wanted[-1], 15)
    mirror_model.wait_equal(folder, tree(b"a/", pairs), 10, agent)
    assert revisions_of(lines) == wanted
    agent.wait_status(lambda s: s["connected"] and s["reconnects"] >= 40)
    wait.until(lambda: len(agent.fds()) <= fds + 1, 5, "no descriptor is left over")
    kinds = [w for w in agent.fds().values() if w.startswith("socket:")]
    assert len(kinds) <= 4, kinds
    if not runner.etchlet.is_sanitized:
        assert agent.rss_kb() - early < 200
    # Nobody is left behind either.
    with open(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children") as f:
        assert f.read().split() == []


def test_fifty_thousand_events_without_growth(runner, servers, tmp_path, memory_dir):
    etcd = servers.etcd()
    folder, hook = memory_dir + "/m", hook_module.Hook(str(tmp_path / "hook"))
    agent = runner.start(etcd, Watch("m", "a/", mirror=folder), Watch("p", "a/", print=str(tmp_path / "lines")),
                         Watch("h", "a/", exec=hook.command, settle="300ms"),
                         state_interval="1s", durability="relaxed")
    agent.wait_synced()
    pairs, early, last = {}, None, 0
    for i in range(500):
        ops = []
        for j in range(100):
            key = b"a/%d" % ((i * 37 + j) % 400)
            pairs[key] = value(b"%d-%d" % (i, j))
            ops.append(("put", key, pairs[key]))
        last = etcd.client.txn(ops)
        if i == 100:
            agent.wait_position("p", last, 20)
            early = agent.peak_kb()
    agent.wait_position("p", last, 30)
    agent.wait_position("m", last, 30)
    agent.wait_position("h", last, 30)
    mirror_model.wait_equal(folder, tree(b"a/", pairs), 10, agent)
    assert len(revisions_of(str(tmp_path / "lines"))) == 50_000
    if not runner.etchlet.is_sanitized:
        assert agent.peak_kb() < 4096
        assert agent.peak_kb() - early < 256, "it grows with the events"
    writes = agent.status()["state"]["writes"]
    assert writes <= 3 * (agent.status()["uptime_s"] + 3), "the state file is written for every event"


def test_idle_agent_sleeps(runner, servers, tmp_path):
    """Three watches with all kinds of sinks and nothing to do: hardly any wake-ups, no processor time."""
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("m", "a/", mirror=str(tmp_path / "m")), Watch("p", "b/", print="-"),
                         Watch("h", "c/", exec=["/bin/true"]), probe_interval="60s", idle_after="600s")
    agent.wait_synced()

    def switches():
        with open(f"/proc/{agent.process.pid}/status") as f:
            return sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    wait.until(lambda: _is_steady(switches), 10, "it has come to rest")
    before, cpu = switches(), agent.cpu_s()
    wait.holds_for(lambda: agent.is_running, 2, "it runs")
    assert switches() - before <= 6 and agent.cpu_s() - cpu <= 0.02


def _is_steady(read):
    before = read()
    time.sleep(0.3)
    return read() - before <= 1

# SPDX-License-Identifier: Apache-2.0
"""How `etchlet run` tells of itself: status, its socket, metrics, notices to the service manager, log."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from harness import hook as hook_module
from harness import status as status_module
from harness import wait
from harness.config import Watch
from harness.hook import text
from harness.process import die_with_parent, kill_and_reap


def status(runner, *words):
    return runner.etchlet.run("status", "--control", runner.control, *words)


@pytest.fixture
def lines(tmp_path):
    return str(tmp_path / "lines")


# The answer.


def test_members_and_their_values(runner, etcd, prefix, lines):
    for i in range(3):
        etcd.client.put(f"{prefix}{i}".encode(), b"v")
    begin = time.monotonic()
    agent = runner.start(etcd, Watch("w", prefix, print=lines), Watch("single", prefix + "1", False, print="-"))
    agent.wait_synced()
    last = etcd.client.txn([("put", prefix.encode() + b"%d" % i, b"w") for i in range(2, 7)])
    agent.wait_position("w", last)
    runner.wait_saved("w", last)
    agent.wait_status(lambda s: s["probe"]["revision"] is not None and s["probe"]["revision"] >= last)
    answer = json.loads(status(runner, "--json").stdout)
    assert status_module.faults(answer) == []
    header = etcd.client.range(b"x").header
    assert answer["pid"] == agent.process.pid and answer["connected"] is True
    assert answer["endpoint"] == etcd.url
    assert (answer["cluster_id"], answer["member_id"]) == (str(header.cluster_id), str(header.member_id))
    assert 0 <= answer["uptime_s"] <= time.monotonic() - begin + 1
    assert answer["reconnects"] == 0 and answer["last_error"] is None
    assert 0 <= answer["probe"]["age_s"] <= 2
    assert answer["state"]["file"] == runner.state and answer["state"]["recovered"] is False
    assert answer["state"]["writes"] >= 1 and answer["state"]["bytes"] >= 16 * answer["state"]["writes"]
    assert 100 < answer["memory"]["rss_kb"]
    assert answer["version"] in runner.etchlet.run("version").stdout.decode()
    w, single = answer["watches"]
    assert {n: w[n] for n in ("name", "key", "prefix", "synced", "position", "saved_position", "events", "syncs",
                              "last_sync_reason", "sink_errors", "unmappable", "too_long", "unknown", "last_skipped",
                              "last_error")} == {
        "name": "w", "key": prefix, "prefix": True, "synced": True, "position": w["position"],
        "saved_position": w["position"], "events": 5, "syncs": 1, "last_sync_reason": "first", "sink_errors": 0,
        "unmappable": 0, "too_long": 0, "unknown": 0, "last_skipped": None, "last_error": None}
    assert w["position"] >= last and w["batches"] >= 1
    assert (single["name"], single["key"], single["prefix"], single["events"]) == ("single", prefix + "1", False, 0)


def test_order_of_members(runner, etcd35, prefix, lines):
    runner.start(etcd35, Watch("w", prefix, print=lines)).wait_synced()
    answer = json.loads(status(runner, "--json").stdout)
    promised = [n for n in answer if n in status_module.MEMBERS]
    assert promised == list(status_module.MEMBERS)
    assert [n for n in answer["watches"][0] if n in status_module.WATCH_MEMBERS] == list(status_module.WATCH_MEMBERS)


def test_before_anything_is_known(runner, lines):
    """No server: it runs, answers, and says what it waits for."""
    agent = runner.start(f"http://127.0.0.1:{wait.free_port()}", Watch("w", "k/", print=lines))
    answer = agent.wait_status(lambda s: s["last_error"], 10, "the trouble is told")
    assert answer["connected"] is False
    assert (answer["cluster_id"], answer["member_id"]) == (None, None)
    assert answer["probe"] is None or answer["probe"]["revision"] is None
    w = answer["watches"][0]
    assert (w["synced"], w["position"], w["saved_position"], w["last_sync_reason"]) == (False, None, None, None)
    assert "refused" in answer["last_error"].lower()


def test_reconnects_and_last_error(runner, servers, lines):
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    agent = runner.start(proxy, Watch("w", "k/", print=lines))
    agent.wait_synced()
    proxy.cut()
    agent.wait_status(lambda s: s["connected"] and s["reconnects"] == 1)
    proxy.refuse()
    proxy.cut()
    agent.wait_status(lambda s: not s["connected"] and s["last_error"])
    proxy.listen()
    agent.wait_status(lambda s: s["connected"] and s["reconnects"] >= 2)
    assert agent.watch("w")["synced"]


def test_key_that_is_not_text(runner, etcd35, lines):
    agent = runner.start(etcd35, Watch("w", b"\xff\n\"\\\x00/", print=lines))
    agent.wait_synced()
    assert b"\n" not in status(runner, "--json").stdout.strip()
    assert "\\xff\\x0a\"" in agent.watch("w")["key"].lower()


def test_table_for_a_person(runner, etcd35, prefix, lines):
    agent = runner.start(etcd35, Watch("w-of-mine", prefix, print=lines))
    agent.wait_synced()
    done = status(runner)
    out = done.stdout.decode()
    assert done.returncode == 0 and not done.stderr
    assert "w-of-mine" in out and etcd35.url in out
    narrow = [line for line in out.split("\n") if runner.state not in line]
    assert len(narrow) < 24 and max(map(len, narrow)) <= 100, out
    assert "{" not in out and "\x1b" not in out


def test_watch_refreshes_every_second(runner, etcd35, prefix, lines):
    agent = runner.start(etcd35, Watch("w", prefix, print=lines))
    agent.wait_synced()
    shown = runner.etchlet.start("status", "--watch", "--control", runner.control)
    revision = etcd35.client.put(prefix.encode() + b"a", b"")
    shown.out.wait_for(lambda d: str(revision).encode() in d, 4, "the new revision is shown")
    shown.out.wait_for(lambda d: d.count(etcd35.url.encode()) >= 3, 5, "three tables")
    shown.stop()


def test_watch_with_json_is_a_line_a_second(runner, etcd35, prefix, lines):
    runner.start(etcd35, Watch("w", prefix, print=lines)).wait_synced()
    shown = runner.etchlet.start("status", "--watch", "--json", "--control", runner.control)
    shown.out.wait_for(lambda d: d.count(b"\n") >= 3, 5, "three lines")
    for line in shown.out.lines()[:3]:
        status_module.parse(line)
    shown.stop()


def test_not_running(runner, etcd35, prefix, lines):
    done = status(runner)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count(b"\n") == 1 and runner.control.encode() in done.stderr
    # One that was killed left its socket behind; the next takes the place.
    agent = runner.start(etcd35, Watch("w", prefix, print=lines))
    agent.wait_synced()
    agent.kill()
    assert os.path.exists(runner.control)
    assert status(runner, "--json").returncode == 1
    agent = runner.start()
    agent.wait_synced()
    agent.stop()
    assert not os.path.exists(runner.control), "the socket is left behind"
    assert status(runner).returncode == 1


def test_control_path_of_the_configuration_is_used(runner, etcd35, prefix, lines):
    runner.start(etcd35, Watch("w", prefix, print=lines)).wait_synced()
    done = runner.etchlet.run("status", "--json", "--config", runner.config)
    assert done.returncode == 0, done.stderr
    status_module.parse(done.stdout)


def test_socket_that_cannot_be_made_stops_nothing(runner, etcd35, prefix, lines, tmp_path):
    agent = runner.start(etcd35, Watch("w", prefix, print=lines), control=f"{runner.short}/no/such/place")
    last = etcd35.client.put(prefix.encode() + b"a", b"")
    wait.until(lambda: runner.positions().get("w", 0) >= last, 10, "it follows the key")
    assert re.search(b"no/such/place", agent.stderr())


def test_signal_retries_the_socket_and_writes_the_metrics(runner, etcd35, prefix, lines, tmp_path):
    metrics = tmp_path / "m.prom"
    os.mkdir(runner.control)
    agent = runner.start(etcd35, Watch("w", prefix, print=lines), metrics=str(metrics), metrics_interval="1h")
    agent.wait_stderr("something else than a socket")
    last = etcd35.client.put(prefix.encode() + b"a", b"")
    wait.until(lambda: runner.positions().get("w", 0) >= last, 10, "it follows the key")
    metrics.unlink()
    os.rmdir(runner.control)
    agent.send_signal(signal.SIGUSR1)
    wait.until(metrics.exists, 3)
    agent.wait_stderr(r"control socket \S+: made", 3)
    assert status(runner).returncode == 0


def test_table_says_what_a_watch_waits_for(runner, etcd35, prefix, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    good = tmp_path / "good"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n[ -e {good} ] || exit 7\nsleep 1.5\n")
    script.chmod(0o755)
    agent = runner.start(etcd35, Watch("f", prefix, print=fifo), Watch("h", prefix, exec=str(script)))
    last = etcd35.client.put(prefix.encode() + b"a", b"")

    def table():
        return status(runner).stdout.decode()

    wait.until(lambda: f". no reader at {fifo}" in table(), 10, "the FIFO is named")
    wait.until(lambda: re.search(r"hook failed, tried again: \S+ ended with status 7", table()), 10, "the hook too")
    assert re.search(r"^f +waiting", table(), re.M) and re.search(r"^h +trouble", table(), re.M)
    good.touch()
    wait.until(lambda: "hook runs" in table(), 10, "it runs")
    agent.wait_position("h", last)
    wait.until(lambda: re.search(r"^h +in step", table(), re.M), 10, "and is in step")
    assert "last error: " in table() and "hook runs" not in table()
    done = runner.etchlet.run("run", "-c", runner.config, "--once", "--timeout=1s", f"--state={tmp_path}/other",
                              f"--control={runner.short}/other")
    assert done.returncode == 1 and f"watch f: no reader at {fifo}".encode() in done.stderr


def test_file_that_is_no_socket_is_not_removed(runner, etcd35, prefix, lines):
    with open(runner.control, "w") as f:
        f.write("precious")
    agent = runner.start(etcd35, Watch("w", prefix, print=lines))
    wait.until(lambda: not agent.is_running or runner.positions(), 10, "it runs, or says no")
    with open(runner.control) as f:
        assert f.read() == "precious"


def test_socket_of_a_running_agent_is_not_taken(runner, etcd35, prefix, lines, tmp_path):
    first = runner.start(etcd35, Watch("w", prefix, print=lines))
    first.wait_synced()
    runner.state += "-2"
    second = runner.start(etcd35, Watch("w", prefix, print=str(tmp_path / "lines2")))
    wait.until(lambda: not second.is_running or runner.positions().get("w") or b"control" in second.stderr().lower(),
               10, "the second runs, or says no")
    assert runner.status()["pid"] == first.process.pid


def test_socket_is_not_for_everybody(runner, etcd35, prefix, lines):
    runner.start(etcd35, Watch("w", prefix, print=lines), preexec=lambda: os.umask(0)).wait_synced()
    at = os.stat(runner.control)
    assert stat.S_ISSOCK(at.st_mode) and at.st_mode & 0o007 == 0, oct(at.st_mode)


# Hostile clients.


def connect(runner):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(5)
    client.connect(runner.control)
    return client


def test_clients_that_hang_block_nobody(runner, servers, lines):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines))
    agent.wait_synced()
    clients = []
    try:
        for _ in range(60):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            try:
                client.connect(runner.control)
            except OSError:
                client.close()
                continue
            clients.append(client)
        last = etcd.client.put(b"k/a", b"")
        wait.until(lambda: runner.positions().get("w", 0) >= last, 10, "it follows the key all the same")
        assert len(agent.fds()) < 40, "every client that hangs takes a descriptor"
        cpu = agent.cpu_s()
        wait.holds_for(lambda: agent.is_running, 0.5, "it runs")
        assert agent.cpu_s() - cpu < 0.3, "it spins on them"
        # And a person is answered after a moment, although they still hang.
        wait.until(lambda: runner.status() is not None, 15, "status is answered beside clients that hang")
    finally:
        for client in clients:
            client.close()
    agent.wait_status(lambda s: True, 10, "it answers again")


def test_rubbish_and_floods(runner, servers, lines):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines))
    agent.wait_synced()
    fds = len(agent.fds())
    for rubbish in (b"", b"\x00" * 10, b"GET / HTTP/1.1\r\n\r\n", b"status\n" * 1000, b"x" * 1_000_000, b"\xff" * 5000,
                    b'{"json":1}\n', b"\n"):
        client = connect(runner)
        client.setblocking(False)
        end = time.monotonic() + 1.0
        view = memoryview(rubbish)
        while view and time.monotonic() < end:
            try:
                view = view[client.send(view):]
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        client.close()
    # Many at once, each closed without a word.
    for _ in range(300):
        try:
            connect(runner).close()
        except OSError:
            pass
    last = etcd.client.put(b"k/a", b"")
    agent.wait_position("w", last, 10)
    wait.until(lambda: len(agent.fds()) <= fds + 1, 10, "their descriptors are given back")


def test_client_that_never_reads(runner, servers, lines):
    """It asks over and over, and takes no answer."""
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines))
    agent.wait_synced()
    answers = []

    def ask():
        answers.append(runner.etchlet.run("status", "--json", "--control", runner.control).returncode)
    threads = [threading.Thread(target=ask) for _ in range(12)]
    stopped = subprocess.Popen([runner.etchlet.binary, "status", "--watch", "--control", runner.control],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    try:
        wait.until(lambda: os.read(stopped.stdout.fileno(), 1), 5, "it shows something")
        stopped.send_signal(signal.SIGSTOP)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(15)
        assert answers == [0] * 12
        agent.wait_position("w", etcd.client.put(b"k/a", b""))
    finally:
        kill_and_reap(stopped)


# Metrics.

METRIC = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? '
                    r'(-?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|NaN|[+-]?Inf))')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


def parse_metrics(text):
    """A strict reader of the text format, with promtool's rules for names; {(name, labels): value}."""
    assert text.endswith("\n"), "the last line has no end"
    found, kinds, helps, seen_groups, current = {}, {}, {}, set(), None
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, said = line[7:].split(" ", 1)
            assert name not in helps and said.strip(), f"HELP of {name} twice or empty"
            helps[name] = said
            assert name not in seen_groups, f"{name} is torn apart"
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in kinds and kind in ("counter", "gauge", "histogram", "summary", "untyped")
            kinds[name] = kind
            continue
        assert line and not line.startswith("#"), f"a line that is neither sample nor HELP nor TYPE: {line!r}"
        match = METRIC.fullmatch(line)
        assert match, f"not a sample: {line!r}"
        name, labels, number = match.groups()
        pairs, at = [], 0
        labels = labels or ""
        while at < len(labels):
            label = LABEL.match(labels, at)
            assert label, f"bad labels: {line!r}"
            pairs.append((label.group(1), re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1),
                                                 label.group(2))))
            at = label.end()
            assert at == len(labels) or labels[at] == ",", f"bad labels: {line!r}"
            at += 1
        assert len({p[0] for p in pairs}) == len(pairs), f"a label twice: {line!r}"
        if name != current:
            assert name not in seen_groups, f"{name} is torn apart"
            seen_groups.add(name)
            current = name
        key = (name, tuple(sorted(pairs)))
        assert key not in found, f"{key} twice"
        found[key] = float(number)
        assert name in kinds and name in helps, f"{name} has no TYPE or no HELP before it"
    for name, kind in kinds.items():
        assert name.startswith("etchlet_"), name
        assert (kind == "counter") == name.endswith("_total"), f"{name} is a {kind}"
        assert not re.search("_(ms|milliseconds|minutes|kb|kilobytes)(_|$)", name), f"{name}: base units are wanted"
    return found


def value_of(metrics, name, **labels):
    matching = [v for (n, l), v in metrics.items() if n == name and set(labels.items()) <= set(l)]
    assert len(matching) == 1, f"{name}{labels}: {matching} in {sorted(n for n, _ in metrics)}"
    return matching[0]


def test_metrics(runner, servers, tmp_path, lines):
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    path = str(tmp_path / "etchlet.prom")
    agent = runner.start(proxy, Watch("a", "a/", print=lines), Watch("b", "b/", print="-"), metrics=path,
                         metrics_interval="100ms")
    agent.wait_synced()
    etcd.client.txn([("put", b"a/%d" % i, b"") for i in range(7)])
    last = etcd.client.put(b"b/1", b"")
    agent.wait_position("b", last)
    proxy.cut()
    agent.wait_status(lambda s: s["reconnects"] == 1 and s["connected"])

    def read():
        with open(path) as f:
            return parse_metrics(f.read())
    wait.until(lambda: value_of(read(), "etchlet_reconnects_total") == 1, 5, "the reconnection is counted")
    metrics = read()
    assert value_of(metrics, "etchlet_position_revision", watch="b") >= last
    assert value_of(metrics, "etchlet_events_total", watch="a") == 7
    assert value_of(metrics, "etchlet_events_total", watch="b") == 1
    assert value_of(metrics, "etchlet_state_writes_total") >= 1
    info = [(n, dict(l), v) for (n, l), v in metrics.items() if n == "etchlet_build_info"]
    assert len(info) == 1 and info[0][2] == 1 and info[0][1]["version"]
    assert any(n.endswith("_seconds") for n, _ in metrics)


def test_metrics_are_replaced_atomically(runner, servers, tmp_path, lines):
    etcd = servers.etcd()
    path = str(tmp_path / "dir" / "etchlet.prom")
    os.makedirs(tmp_path / "dir")
    agent = runner.start(etcd, Watch("a", "a/", print=lines), metrics=path, metrics_interval="20ms")
    wait.until(lambda: os.path.exists(path), 10, "the metrics")
    inodes = set()
    deadline = time.monotonic() + 15
    for i in range(2000):
        with open(path) as f:
            inodes.add(os.fstat(f.fileno()).st_ino)
            parse_metrics(f.read())
        if i % 100 == 0:
            etcd.client.put(b"a/k", b"")
        if i >= 500 and len(inodes) > 1 and time.monotonic() > deadline - 13:
            break
    assert len(inodes) > 1, "the file was written in place"
    at = os.stat(path)
    assert stat.S_IMODE(at.st_mode) == 0o644, "who collects them cannot read them"
    names = set(os.listdir(tmp_path / "dir"))
    assert not any(n.endswith(".prom") and n != "etchlet.prom" for n in names), f"half files are collected too: {names}"
    agent.stop()


def test_metrics_in_trouble_stop_nothing(runner, servers, tmp_path, lines):
    etcd = servers.etcd()
    path = str(tmp_path / "later" / "etchlet.prom")
    agent = runner.start(etcd, Watch("a", "a/", print=lines), metrics=path, metrics_interval="50ms")
    agent.wait_synced()
    agent.wait_stderr("etchlet.prom|metrics")
    wait.holds_for(lambda: agent.is_running, 0.5, "it runs")
    assert agent.stderr().count(b"\n") < 12, "the same trouble is told over and over"
    os.makedirs(tmp_path / "later")
    wait.until(lambda: os.path.exists(path), 5, "the metrics, once there is a place for them")


def test_metrics_escape_names(runner, servers, tmp_path, lines):
    etcd = servers.etcd()
    path = str(tmp_path / "m.prom")
    agent = runner.start(etcd, Watch("a", b"q\"\\\n\xff/", print=lines), metrics=path, metrics_interval="50ms")
    agent.wait_synced()
    with open(path, "rb") as f:
        parse_metrics(f.read().decode("utf-8"))


# Notices to the service manager.


class Notices:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0") if address.startswith("@") else address)
        self.socket.settimeout(0.05)
        self.messages = []  # (time, text)
        self.closing = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closing:
            try:
                self.messages.append((time.monotonic(), self.socket.recv(65536).decode("utf-8")))
            except socket.timeout:
                pass

    def fields(self, name=None):
        found = []
        for at, message in list(self.messages):
            for line in message.split("\n"):
                key, _, text = line.partition("=")
                assert not line or "=" in line, f"not NAME=VALUE: {message!r}"
                if line and name in (None, key):
                    found.append((at, text) if name else (at, key, text))
        return found

    def wait(self, name, text=None, count=1, timeout_s=10.0):
        def is_there():
            found = [f for f in self.fields(name) if text is None or re.search(text, f[1])]
            return found if len(found) >= count else None
        return wait.until(is_there, timeout_s, f"notice {name}={text} ({[m for _, m in self.messages][-5:]})")

    def close(self):
        self.closing = True
        self.thread.join(2)
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def notices(request, runner):
    address = os.path.join(runner.short, "notify") if request.param == "path" else "@" + runner.short[1:] + "-notify"
    made = Notices(address)
    made.address = address
    yield made
    made.close()


def test_ready_status_reloading_stopping(runner, servers, lines, notices):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines), env={"NOTIFY_SOCKET": notices.address})
    notices.wait("READY", "^1$")
    notices.wait("STATUS", ".")
    assert not notices.fields("WATCHDOG"), "nobody asked for the watchdog"
    agent.wait_synced()
    agent.send_signal(signal.SIGHUP)
    notices.wait("RELOADING", "^1$")
    notices.wait("MONOTONIC_USEC", "^[0-9]+$")
    notices.wait("READY", "^1$", 2)
    order = [k for _, k, _ in notices.fields() if k in ("READY", "RELOADING", "STOPPING")]
    assert order == ["READY", "RELOADING", "READY"]
    agent.stop()
    notices.wait("STOPPING", "^1$")


def test_ready_without_network(runner, lines, notices):
    """A service manager must not kill it at boot because the network is late."""
    agent = runner.start(f"http://127.0.0.1:{wait.free_port()}", Watch("w", "k/", print=lines),
                         env={"NOTIFY_SOCKET": notices.address})
    notices.wait("READY", "^1$", timeout_s=5)
    agent.wait_status(lambda s: not s["connected"])


def test_watchdog(runner, servers, lines, notices):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines), probe_interval="60s", idle_after="600s",
                         env={"NOTIFY_SOCKET": notices.address, "WATCHDOG_USEC": "400000"})
    found = notices.wait("WATCHDOG", "^1$", 6)
    gaps = [b[0] - a[0] for a, b in zip(found, found[1:])]
    assert max(gaps) < 0.4, f"later than the watchdog allows: {gaps}"
    assert len(found) < 200
    # Stopped in its tracks it is silent: the notices come from the loop and not from beside it.
    agent.process.send_signal(signal.SIGSTOP)
    count = None

    def is_silent():
        nonlocal count
        before, count = count, len(notices.fields("WATCHDOG"))
        return before == count
    wait.until(is_silent, 5, "silence", 0.5)
    agent.process.send_signal(signal.SIGCONT)
    notices.wait("WATCHDOG", "^1$", count + 2)


def test_watchdog_of_another_process_is_not_served(runner, servers, lines, notices):
    etcd = servers.etcd()
    agent = runner.start(etcd, Watch("w", "k/", print=lines),
                         env={"NOTIFY_SOCKET": notices.address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    notices.wait("READY")
    agent.wait_synced()
    wait.holds_for(lambda: not notices.fields("WATCHDOG"), 0.5, "no watchdog notice")


def test_notify_socket_is_not_given_to_the_hook(runner, servers, tmp_path, notices):
    etcd = servers.etcd()
    hook = hook_module.Hook(str(tmp_path / "hook"))
    runner.start(etcd, Watch("w", "k/", exec=hook.command),
                 env={"NOTIFY_SOCKET": notices.address, "WATCHDOG_USEC": "60000000"})
    run = hook.wait_ended(1)
    assert run.fds == [0, 1, 2]


@pytest.mark.parametrize("address", ["/nowhere/notify", "relative", "", "@", "/" + "x" * 200])
def test_bad_notify_socket_stops_nothing(runner, etcd35, prefix, lines, address):
    agent = runner.start(etcd35, Watch("w", prefix, print=lines), env={"NOTIFY_SOCKET": address})
    agent.wait_synced()


# The log.


def test_log_holds_no_values_and_no_secrets(runner, servers, tmp_path):
    etcd = servers.etcd()
    etcd.client.user_add("dev", "PASSWORD-7531")
    etcd.client.role_add("all")
    etcd.client.role_grant("all", b"k/", b"k0", 2)
    etcd.client.user_grant_role("dev", "all")
    etcd.enable_auth("ROOT-8642")
    proxy = servers.proxy(etcd)
    hook = hook_module.Hook(str(tmp_path / "hook"))
    hook.plan(r2={"exit": 1})
    metrics = str(tmp_path / "m.prom")
    etcd.client.put(b"k/a", b"VALUE-9753-listed")
    agent = runner.start(proxy, Watch("w", "k/", mirror=str(tmp_path / "m"), exec=hook.command, print="-",
                                      prev_kv=True),
                         user="dev:PASSWORD-7531", log_level="debug", metrics=metrics, metrics_interval="50ms",
                         max_value="64K")
    agent.wait_synced()
    etcd.client.put(b"k/a", b"VALUE-9753-event")
    etcd.client.put(b"k/b", b"VALUE-9753" * 10_000)
    last = etcd.client.put(b"k/c", b"VALUE-9753-end")
    agent.wait_position("w", last)
    proxy.cut()
    agent.send_signal(signal.SIGHUP)
    agent.wait_status(lambda s: s["connected"] and s["reconnects"] >= 1)
    told = agent.stderr() + status(runner).stdout + status(runner, "--json").stdout
    with open(metrics, "rb") as f:
        told += f.read()
    with open(runner.state, "rb") as f:
        told += f.read()
    assert len(agent.stderr()) > 500, "debug level says next to nothing"
    for secret in (b"VALUE-9753", b"PASSWORD-7531", b"ROOT-8642", base64_of(b"VALUE-9753-event")):
        assert secret not in told
    # Nor can others read the password from the command line or the environment of the hook.
    run = hook.ended()[-1]
    assert not any("PASSWORD-7531" in v for v in run.env.values())


def base64_of(data):
    return base64.b64encode(data)


def test_same_trouble_is_told_once(runner, tmp_path, servers):
    """A hook, a mirror and a server in trouble for seconds: a handful of lines, not a flood."""
    etcd = servers.etcd()
    hook = hook_module.Hook(str(tmp_path / "hook"))
    hook.plan({"exit": 1, "print": text((2, b"hook says no\n"))})
    agent = runner.start(etcd, Watch("w", "k/", exec=hook.command), backoff_min="5ms", backoff_max="10ms")
    hook.wait_ended(40, 20)
    own = [line for line in agent.stderr().split(b"\n") if line and b"hook says no" not in line]
    assert len(own) < 20, b"\n".join(own)
    hook.plan({})
    agent.wait_synced()


def test_log_level(runner, etcd35, prefix, lines):
    agent = runner.start(etcd35, Watch("w", prefix, print=lines), log_level="error")
    agent.wait_synced()
    agent.stop()
    assert agent.stderr() == b""


def test_syslog(runner, etcd35, prefix, lines):
    """In a /dev of its own, where the test listens: level, name and pid as syslogd wants them."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a program another /dev")
    dev = os.path.join(runner.short, "dev")
    os.mkdir(dev)
    open(os.path.join(dev, "null"), "w").close()
    script = 'mount --bind /dev/null "$0/null" && mount --rbind "$0" /dev && exec "$@"'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.path.join(dev, "log"))
        listener.settimeout(10)
        agent = runner.start(etcd35, Watch("w", prefix, print=lines), words=["--syslog"],
                             prefix=["unshare", "-m", "sh", "-c", script, dev])
        agent.wait_synced()
        agent.stop()
        said = []
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(listener.recv(4096).decode())
    assert agent.stderr() == b""
    assert len(said) >= 2 and any("watch w: synchronised" in line for line in said), said
    for line in said:
        # Facility daemon (3), severity informational (6), and no line end: RFC 3164 4.1.
        assert re.match(rf"<30>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d etchlet\[{agent.process.pid}\]: \S.*$", line), line


def test_log_lines_are_one_line_each(runner, etcd35, lines, tmp_path):
    """A key with line ends and terminal sequences cannot forge a line."""
    agent = runner.start(etcd35, Watch("w", b"fo\nrge/", mirror=str(tmp_path / "m")))
    agent.wait_synced()
    last = etcd35.client.put(b"fo\nrge/\x1b[2J\netchlet: forged" + b"n" * 300, b"")
    agent.wait_position("w", last)
    agent.wait_watch("w", lambda w: w["unmappable"] == 1)
    assert b"\x1b" not in agent.stderr() and b"\netchlet: forged" not in agent.stderr()
    assert b"\x1b" not in status(runner).stdout

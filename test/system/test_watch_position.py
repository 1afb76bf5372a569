# SPDX-License-Identifier: Apache-2.0
"""Where a watch starts, what moves its position, what is saved and when; stops and kills."""

import array
import fcntl
import re
import signal
import socket
import termios
import threading
import time

import pytest

from harness import proto, wait
from harness.agent import key_of, put_line
from harness.proto import PUT, Event, KeyValue
from harness.proxy import Plan

# Delays of the idle rule that a test can wait for.
IDLE = ["--probe-interval=300ms", "--idle-after=900ms"]


def kv(revision, key=b"k"):
    return KeyValue(key, b"v%d" % revision, revision, revision, 1)


def put_event(revision, key=b"k"):
    return Event(PUT, kv(revision, key))


# Where it starts.


def test_without_state_it_starts_now_and_lists_nothing(etchlet, servers):
    fake = servers.fake()
    fake.put(b"k", b"old")
    agent = etchlet.watch(fake, "k")
    fake.wait_watches()
    wait.until(lambda: fake.watches[0].is_live, 5)
    fake.put(b"k", b"new")
    assert [e["value"] for e in agent.wait_events(1)] == ["new"]
    assert not [c for c in fake.calls_of("Range") if c.request and c.request.range_end]


def test_first_created_header_is_the_position_and_is_saved(etchlet, etcd, prefix, state):
    agent = etchlet.watch(etcd, "--state", state, "--state-interval=1s", prefix)
    assert etchlet.wait_position(state, 1) == etcd.client.revision()
    agent.kill()
    etcd.client.put(prefix.encode(), b"while away")
    agent = etchlet.watch(etcd, "--state", state, prefix)
    assert agent.wait_events(1)[0]["value"] == "while away"


def test_rev_starts_there(etchlet, etcd, prefix, state):
    first = etcd.client.put(prefix.encode(), b"1")
    etcd.client.put(prefix.encode(), b"2")
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    assert [e["value"] for e in agent.wait_events(2)] == ["1", "2"]


def test_position_of_the_state_file_wins_over_rev(etchlet, etcd, prefix, state):
    first = etcd.client.put(prefix.encode(), b"1")
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    agent.wait_events(1)
    agent.stop()
    etcd.client.put(prefix.encode(), b"2")
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    assert [e["value"] for e in agent.wait_events(1)] == ["2"]
    assert etchlet.position(state) >= first


def test_rev_before_a_compaction_leads_to_a_full_synchronisation(etchlet, servers, version):
    etcd = servers.etcd(version)
    for i in range(10):
        etcd.client.put(b"k%d" % i, b"v")
    etcd.client.compact(8)
    agent = etchlet.watch(etcd, "--rev=3", "--prefix", "k")
    lines = agent.wait_lines(12)
    now = etcd.client.revision()
    assert lines[0] == (b'{"type":"sync","reason":"compacted","revision":%d,"compact_revision":8}'
                        % now)
    assert lines[-1] == b'{"type":"synced","revision":%d}' % now


def test_clean_restart_repeats_nothing_and_misses_nothing(etchlet, etcd, prefix, state):
    seen, words = [], ["--state", state, "--prefix", prefix]
    first = etcd.client.revision() + 1
    for round_number in range(4):
        etcd.client.put_many((prefix.encode() + b"%d" % i, b"v") for i in range(50))
        agent = etchlet.watch(etcd, f"--rev={first}", *words)
        agent.wait_lines(50)
        etcd.client.put_many((prefix.encode() + b"%d" % i, b"w") for i in range(50))
        agent.wait_lines(100)
        agent.stop([signal.SIGTERM, signal.SIGINT][round_number % 2])
        seen += [e["mod_revision"] for e in agent.events()]
    assert seen == list(range(first, first + 400))
    assert etchlet.position(state) == first + 399


@pytest.mark.parametrize("version_text, extra", [
    ("3.4.35", 0), ("3.4.36", 1), ("3.5.17", 0), ("3.5.18", 1), ("3.5.21", 1), ("3.6.0", 1),
    ("3.10.0", 1), ("3.3.27", 0)])
def test_start_revision_depends_on_the_version_of_the_server(etchlet, servers, state, version_text,
                                                             extra):
    """A server that may lose a delete at the compacted revision is asked one revision earlier."""
    fake = servers.fake()
    fake.version = version_text
    position = fake.put(b"k", b"1")
    agent = etchlet.watch(fake, "--state", state, "--rev=2", "k")
    agent.wait_events(1)
    agent.stop()
    agent = etchlet.watch(fake, "--state", state, "k")
    assert fake.wait_watches(2).start == position + extra
    fake.put(b"k", b"2")
    assert [e["value"] for e in agent.wait_events(1)] == ["2"]


def test_delete_at_exactly_the_compacted_revision_is_not_lost(etchlet, servers, version, state):
    """Servers older than 3.4.36 and 3.5.18 leave it out of the history they send."""
    etcd = servers.etcd(version)
    etcd.client.put(b"k1", b"v")
    etcd.client.put(b"k2", b"v")
    agent = etchlet.watch(etcd, "--rev=2", "--state", state, "--prefix", "k")
    agent.wait_events(2)
    agent.stop()
    deleted = etcd.client.delete(b"k1")
    etcd.client.compact(deleted)
    agent = etchlet.watch(etcd, "--state", state, "--prefix", "k")
    etcd.client.put(b"k3", b"end")
    agent.wait_key("k3")
    events = agent.events()
    if events[0]["type"] == "sync":
        assert "k1" not in [e.get("key") for e in events]
    else:
        assert (events[0]["type"], events[0]["key"]) == ("delete", "k1")


def test_watch_asks_for_fragments_and_for_a_leader(etchlet, servers):
    fake = servers.fake()
    etchlet.watch(fake, "k")
    watch = fake.wait_watches()
    assert watch.request.fragment
    assert watch.call.headers.get("hasleader") == "true"
    assert watch.call.headers["content-type"].startswith("application/grpc")
    assert watch.call.headers["te"] == "trailers"


# What moves the position.


def test_position_is_the_last_event_and_never_a_header(etchlet, servers, state):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "k")
    watch = fake.wait_watches()
    fake.revision = 5000
    watch.events([put_event(11), put_event(12)], header=fake.header(5000))
    agent.wait_events(2)
    agent.stop()
    assert etchlet.position(state) == 12


def test_created_header_does_not_move_a_known_position(etchlet, servers, state):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "k")
    fake.wait_watches()
    etchlet.wait_position(state, 10)
    agent.stop()
    fake.revision = 5000
    fake.on_watch = lambda watch: watch.created() or True
    agent = etchlet.watch(fake, "--state", state, "k")
    fake.wait_watches(2)
    fake.wait_calls("Watch", 2)
    wait.until(lambda: fake.watches[1].call.headers_sent, 5)
    watch = fake.watches[1]
    watch.events([put_event(11)], header=fake.header(5000))
    agent.wait_events(1)
    agent.stop()
    assert etchlet.position(state) == 11


def test_backlog_cut_after_the_first_batch_has_no_gap(etchlet, etcd, prefix, state, servers):
    """A resumed watch gets 1,000 revisions a response, under a header that is far ahead of them."""
    base = etcd.client.put(prefix.encode(), b"first")
    etcd.client.put_many((prefix.encode(), b"%04d" % i) for i in range(2600))
    proxy = servers.proxy(etcd)
    proxy.plans.extend(Plan(cut_down=cut) for cut in (30_000, 20_000, 20_000))
    agent = etchlet.watch(proxy, "--state", state, f"--rev={base}", "--prefix", prefix)
    events = agent.wait_events(2601, 30)
    assert [e["mod_revision"] for e in events] == list(range(base, base + 2601))
    assert len(proxy.links) >= 3
    agent.stop()
    assert etchlet.position(state) == base + 2600


def test_progress_for_the_own_watch_moves_the_position(etchlet, servers, state):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "k")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 10)
    watch.progress(50)
    watch.progress(40)
    watch.progress(60, watch_id=-1)
    watch.progress(70, watch_id=watch.id + 5)
    watch.events([put_event(51)], header=fake.header(51))
    agent.wait_events(1)
    watch.progress(55)
    # Everything above was seen before this event, which is behind the position: dropped.
    watch.events([put_event(54), put_event(56)], header=fake.header(56))
    agent.wait_event(lambda e: e["mod_revision"] == 56)
    watch.progress(58)
    time_to_arrive(fake, watch)
    agent.stop()
    assert etchlet.position(state) == 58
    assert [e["mod_revision"] for e in agent.events()] == [51, 56]


def time_to_arrive(fake, watch):
    """What was sent has been read by the agent: it has answered a PING sent after it."""
    connection = watch.call.connection
    acks = connection.ping_acks
    connection.send_ping()
    wait.until(lambda: connection.ping_acks > acks, 5, "the PING is answered")


@pytest.mark.parametrize("watch_id", [-1, 9])
def test_progress_for_another_watch_does_not_move_the_position(etchlet, servers, state, watch_id):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "k")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 10)
    watch.progress(60, watch_id=watch_id)
    time_to_arrive(fake, watch)
    agent.stop()
    assert etchlet.position(state) == 10


def test_progress_with_a_zero_revision_is_ignored(etchlet, servers, state):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "k")
    watch = fake.wait_watches()
    watch.send(header=b"")
    watch.send(header=fake.header(0))
    watch.events([put_event(11)])
    agent.wait_events(1)
    agent.stop()
    assert etchlet.position(state) == 11


def test_progress_between_two_fragments_moves_nothing(etchlet, servers, state):
    fake = servers.fake()
    fake.revision = 10
    agent = etchlet.watch(fake, "--state", state, "--prefix", "k")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 10)
    watch.events([put_event(12, b"k1")], fragment=True, header=fake.header(12))
    watch.progress(12)
    time_to_arrive(fake, watch)
    agent.stop()
    assert etchlet.position(state) == 10


def test_idle_watch_moves_on_by_probe(etchlet, servers, version, state):
    """Survives a compaction of everything that it was silent through."""
    etcd = servers.etcd(version)
    agent = etchlet.watch(etcd, "--state", state, *IDLE, "k")
    etchlet.wait_position(state, 1)
    revision = etcd.client.put_many((b"other", b"v") for _ in range(100))
    assert etchlet.wait_position(state, revision, 15) == revision
    agent.kill()
    etcd.client.put(b"k", b"after")
    etcd.client.compact(revision)
    agent = etchlet.watch(etcd, "--state", state, "k")
    assert agent.wait_events(1)[0]["value"] == "after"


def test_probe_is_a_linearizable_range_of_the_first_key(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, *IDLE, "--prefix", "/some/prefix/")
    watch = fake.wait_watches()
    wait.until(lambda: len(fake.probes()) >= 3, 10, "three probes")
    for probe in fake.probes():
        assert (probe.request.key, probe.request.range_end) == (b"/some/prefix/", b"")
        assert not probe.request.serializable and not probe.request.revision
        assert probe.connection is watch.call.connection
    times = [p.at for p in fake.probes()[:3]]
    assert all(0.2 < b - a < 0.8 for a, b in zip(times[1:], times[2:]))
    assert agent.out.bytes() == b""


def test_probe_younger_than_the_interval_does_not_count(etchlet, servers, state):
    """The newest answer at the stop is always younger than y: the position must be below it."""
    fake = servers.fake()
    answers = []

    def answer(call):
        fake.revision += 10
        answers.append(fake.revision)
        return False
    fake.on["Range"] = answer
    agent = etchlet.watch(fake, "--state", state, "--probe-interval=500ms", "--idle-after=600ms", "k")
    wait.until(lambda: len(answers) >= 5, 15, "five probes")
    agent.stop()
    last = len(fake.probes())
    position = etchlet.position(state)
    assert position > 1, "the idle rule moved nothing"
    assert position < answers[last - 1]
    assert position == 1 or position in answers


def test_probe_moves_nothing_while_events_come(etchlet, servers, state):
    fake = servers.fake()
    revisions = []

    def answer(call):
        """Far ahead of the events: it would show."""
        call.request = proto.decode_range_request(call.message())
        call.answer(proto.range_response(fake.header(fake.revision + 1000)))
        return True
    fake.on["Range"] = answer
    agent = etchlet.watch(fake, "--state", state, "--probe-interval=300ms", "--idle-after=3s", "k")
    watch = fake.wait_watches()
    wait.until(lambda: watch.is_live, 5)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        revision = fake.revision + 1
        watch.events([put_event(revision)])
        agent.wait_event(lambda e, r=revision: e["mod_revision"] == r)
        revisions.append(revision)
        time.sleep(0.2)
    agent.stop()
    assert etchlet.position(state) == revisions[-1]


def test_interruption_starts_the_idle_time_over(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--probe-interval=200ms", "--idle-after=2s", "k")
    fake.wait_watches()
    etchlet.wait_position(state, 1)
    fake.revision = 500
    for round_number in range(2, 6):
        before = len(fake.probes())
        wait.until(lambda b=before: len(fake.probes()) >= b + 4, 5, "probes are answered")
        fake.cut()
        fake.wait_watches(round_number)
    agent.stop()
    assert etchlet.position(state) == 1


def test_event_that_waits_to_be_printed_holds_the_position(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--state-interval=300ms", *IDLE, "--prefix", "k",
                          paused=True)
    watch = fake.wait_watches()
    etchlet.wait_position(state, 1)
    for revision in range(2, 402):
        fake.txn([("put", b"k%d" % revision, b"x" * 1000)], send=False)
    fake.revision = 5000
    # In a thread, for it waits for room in the window.
    threading.Thread(target=lambda: [watch.events([e]) for e in fake.history], daemon=True).start()
    wait.until(lambda: len(fake.probes()) >= 1, 5)
    wait.holds_for(lambda: (etchlet.position(state) or 0) < 401, 2.5, "the position waits", 0.2)
    agent.out.resume()
    agent.wait_lines(400)
    etchlet.wait_position(state, 401)


# Saving.


def test_position_is_saved_within_the_state_interval(etchlet, etcd, prefix, state):
    agent = etchlet.watch(etcd, "--state", state, "--state-interval=1s", "--prefix", prefix)
    etchlet.wait_position(state, 1)
    revision = etcd.client.put_many((prefix.encode(), b"%d" % i) for i in range(20))
    agent.wait_lines(20)
    etchlet.wait_position(state, revision, 2.5)


def test_position_is_not_saved_more_often_than_the_interval(etchlet, etcd, prefix, state):
    agent = etchlet.watch(etcd, "--state", state, "--state-interval=2s", "--prefix", prefix)
    etchlet.wait_position(state, 1)
    before = etchlet.state(state)["writes"]
    deadline = time.monotonic() + 5
    count = 0
    while time.monotonic() < deadline:
        etcd.client.put(prefix.encode(), b"v")
        count += 1
        agent.wait_lines(count)
        time.sleep(0.02)
    writes = etchlet.state(state)["writes"] - before
    assert 1 <= writes <= 3, f"{writes} writes in 5 s"


def test_default_interval_spares_the_flash(etchlet, etcd, prefix, state):
    agent = etchlet.watch(etcd, "--state", state, "--prefix", prefix)
    etchlet.wait_position(state, 1)
    before = etchlet.state(state)["writes"]
    revision = etcd.client.put_many((prefix.encode(), b"%d" % i) for i in range(2000))
    agent.wait_lines(2000)
    assert etchlet.state(state)["writes"] - before <= 1
    agent.stop()
    assert etchlet.position(state) == revision


def test_idle_position_is_saved_once_in_idle_after(etchlet, servers, state):
    fake = servers.fake()

    def answer(call):
        fake.revision += 1
        return False
    fake.on["Range"] = answer
    etchlet.watch(fake, "--state", state, "--state-interval=100ms", "--probe-interval=200ms",
                  "--idle-after=1500ms", "k")
    etchlet.wait_position(state, 1)
    before = etchlet.state(state)["writes"]
    began = time.monotonic()
    wait.until(lambda: len(fake.probes()) >= 25, 15, "5 s of probes")
    allowed = (time.monotonic() - began) / 1.5 + 1
    assert 1 <= etchlet.state(state)["writes"] - before <= allowed


def test_kill_resumes_from_the_last_saved_position(etchlet, etcd, prefix, state):
    first = etcd.client.revision() + 1
    words = ["--state", state, "--state-interval=300ms", f"--rev={first}", "--prefix", prefix]
    heard, resumed_from = [], first - 1
    for round_number in range(4):
        agent = etchlet.watch(etcd, *words)
        last = etcd.client.put_many((prefix.encode(), b"%d" % i) for i in range(30))
        agent.wait_event(lambda e: e["mod_revision"] == last)
        if round_number == 1:
            etchlet.wait_position(state, last)
        agent.kill()
        revisions = [e["mod_revision"] for e in agent.events()]
        assert revisions == list(range(resumed_from + 1, last + 1))
        heard += revisions
        resumed_from = etchlet.position(state) or first - 1
        assert resumed_from <= last
    assert set(heard) == set(range(first, last + 1))


def test_state_file_in_use_by_another_agent_is_refused(etchlet, etcd35, prefix, state):
    first = etchlet.watch(etcd35, "--state", state, prefix)
    etchlet.wait_position(state, 1)
    second = etchlet.watch(etcd35, "--state", state, prefix)
    assert second.wait_exit(5) == 1
    assert state.encode() in second.stderr()
    etcd35.client.put(prefix.encode(), b"1")
    first.wait_events(1)
    first.kill()
    third = etchlet.watch(etcd35, "--state", state, prefix)
    third.wait_events(1)


@pytest.mark.parametrize("change", ["key", "range", "prefix"])
def test_position_of_another_key_or_range_is_none(etchlet, etcd35, prefix, state, change):
    etcd35.client.put(prefix.encode() + b"a", b"1")
    agent = etchlet.watch(etcd35, "--state", state, prefix + "a")
    etchlet.wait_position(state, 1)
    agent.stop()
    etcd35.client.put(prefix.encode() + b"a", b"while away")
    other = {"key": [prefix + "b"], "range": [prefix + "a", prefix + "c"],
             "prefix": ["--prefix", prefix + "a"]}[change]
    agent = etchlet.watch(etcd35, "--state", state, *other)
    # No position: it starts now, and what was written while it was away is not printed.
    now = etcd35.client.revision()
    etchlet.wait_position(state, now)
    etcd35.client.put(prefix.encode() + (b"b" if change == "key" else b"a"), b"now")
    assert [e["value"] for e in agent.wait_events(1)] == ["now"]


# Stops.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_while_streaming(etchlet, etcd, prefix, state, number):
    first = etcd.client.put_many((prefix.encode(), b"v" * 1000) for _ in range(2000)) - 1999
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    agent.wait_lines(10)
    agent.stop(number)
    last = agent.events()[-1]["mod_revision"]
    assert etchlet.position(state) == last
    again = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    if last < first + 1999:
        assert again.wait_events(1)[0]["mod_revision"] == last + 1


def test_stop_at_any_early_moment(etchlet, etcd35, prefix, state):
    for delay_ms in (0, 1, 2, 3, 5, 8, 13, 21, 34):
        agent = etchlet.watch(etcd35, "--state", state, prefix)
        time.sleep(delay_ms / 1000)
        agent.send_signal(signal.SIGTERM)
        status = agent.wait_exit(3)
        assert status == 0, agent.tail()


def test_stop_while_a_server_accepts_and_says_nothing(etchlet, servers):
    silent = servers.raw(lambda sock: time.sleep(20))
    agent = etchlet.watch(silent.url, "k")
    wait.until(lambda: silent.connections, 5)
    agent.stop()


def test_stop_while_a_connection_is_being_made(etchlet):
    """A listener whose queue is full drops further handshakes: connect() hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        port = listener.getsockname()[1]
        before = in_syn_sent(port)
        agent = etchlet.watch(f"http://127.0.0.1:{port}", "k")
        wait.until(lambda: in_syn_sent(port) > before, 5, "a hanging connect()")
        agent.stop()
        for filler in fillers:
            filler.close()


def in_syn_sent(port):
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


def test_stop_while_waiting_to_connect_again(etchlet, servers):
    fake = servers.fake()
    fake.refuse()
    agent = etchlet.watch(fake, "--backoff-min=20s", "--backoff-max=30s", "k", quick=False)
    agent.wait_stderr("refused")
    agent.stop()


def test_stop_while_the_output_is_blocked(etchlet, etcd, prefix, state):
    first = etcd.client.put_many((prefix.encode(), b"v" * 1000) for _ in range(500)) - 499
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix, paused=True)
    held = wait_blocked(agent)
    agent.send_signal(signal.SIGTERM)
    begin = time.monotonic()
    assert agent.process.wait(5) == 0
    assert time.monotonic() - begin < 1.4
    agent.out.resume()
    agent.out.thread.join(5)
    written = agent.out.lines()
    assert len(agent.out.bytes()) >= held
    position = etchlet.position(state)
    assert position is None or position <= first - 1 + len(written)
    # What follows is complete, from the position on.
    again = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    following = again.wait_events(first + 499 - (position or first - 1))
    assert [e["mod_revision"] for e in following] == list(range((position or first - 1) + 1,
                                                                first + 500))


def bytes_in_pipe(agent):
    waiting = array.array("i", [0])
    fcntl.ioctl(agent.process.stdout.fileno(), termios.FIONREAD, waiting)
    return waiting[0]


def wait_blocked(agent):
    """The pipe is full and stays so; how many bytes wait in it."""
    seen = {"bytes": -1, "since": 0}

    def is_full():
        now = bytes_in_pipe(agent)
        if now != seen["bytes"]:
            seen.update(bytes=now, since=time.monotonic())
        return now > 32768 and time.monotonic() - seen["since"] > 0.3 and now
    return wait.until(is_full, 10, "a full pipe")


def test_slow_reader_holds_up_and_loses_nothing(etchlet, etcd, prefix):
    first = etcd.client.put_many((prefix.encode(), b"v" * 1000) for _ in range(3000)) - 2999
    agent = etchlet.watch(etcd, f"--rev={first}", prefix, paused=True)
    wait_blocked(agent)
    if not etchlet.is_sanitized:
        assert agent.peak_kb() < 4096
    agent.out.resume()
    events = agent.wait_events(3000, 30)
    assert [e["mod_revision"] for e in events] == list(range(first, first + 3000))


def test_closed_output_ends_the_agent_not_past_what_was_written(etchlet, etcd, prefix, state):
    first = etcd.client.put_many((prefix.encode(), b"v" * 1000) for _ in range(300)) - 299
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix, paused=True)
    written = wait_blocked(agent)
    line = len(put_line(KeyValue(prefix.encode(), b"v" * 1000, first, first + 99, 100))) + 1
    agent.process.stdout.close()
    assert agent.process.wait(5) == 1
    position = etchlet.position(state)
    most = first - 1 + written // (line - 8)
    assert position is None or position <= most
    agent = etchlet.watch(etcd, "--state", state, f"--rev={first}", prefix)
    expected = list(range((position or first - 1) + 1, first + 300))
    assert [e["mod_revision"] for e in agent.wait_events(len(expected))] == expected


def test_closed_output_is_noticed_at_the_next_event(etchlet, etcd35, prefix):
    agent = etchlet.watch(etcd35, f"--rev={etcd35.client.revision() + 1}", prefix)
    etcd35.client.put(prefix.encode(), b"1")
    agent.wait_events(1)
    agent.out.pause()
    etcd35.client.put(prefix.encode(), b"2")
    wait.until(lambda: len(agent.out.lines()) == 2, 5)
    agent.process.stdout.close()
    deadline = time.monotonic() + 10
    while agent.is_running and time.monotonic() < deadline:
        etcd35.client.put(prefix.encode(), b"3")
        time.sleep(0.1)
    assert agent.process.wait(1) == 1


def test_output_to_a_file_is_whole(etchlet, etcd35, prefix, tmp_path):
    path = tmp_path / "out"
    first = etcd35.client.put_many((prefix.encode(), b"v") for _ in range(500)) - 499
    with open(path, "wb") as out:
        agent = etchlet.watch(etcd35, f"--rev={first}", prefix, stdout=out)
    wait.until(lambda: path.read_bytes().count(b"\n") == 500, 10)
    agent.stop()


# The state file's own troubles.


def test_state_folder_that_is_missing_is_told_and_retried(etchlet, etcd35, prefix, tmp_path):
    path = tmp_path / "much" / "later" / "state"
    agent = etchlet.watch(etcd35, "--state", str(path), "--state-interval=300ms",
                          f"--rev={etcd35.client.revision() + 1}", prefix)
    etcd35.client.put(prefix.encode(), b"1")
    agent.wait_events(1)
    agent.wait_stderr(re.escape(str(path)))
    path.parent.mkdir(parents=True)
    revision = etcd35.client.put(prefix.encode(), b"2")
    agent.wait_events(2)
    etchlet.wait_position(str(path), revision, 20)


def test_state_path_that_cannot_be_a_file_is_told_and_the_watch_goes_on(etchlet, etcd35, prefix,
                                                                       tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "state", tmp_path):
        agent = etchlet.watch(etcd35, "--state", str(path),
                              f"--rev={etcd35.client.revision() + 1}", prefix)
        etcd35.client.put(prefix.encode(), b"1")
        agent.wait_events(1)
        agent.wait_stderr(re.escape(str(path)))
        assert agent.is_running
        # A clean stop cannot save; that it stops in time is all that is asked.
        agent.send_signal(signal.SIGTERM)
        assert agent.wait_exit(3) in (0, 1)


def test_state_that_cannot_be_written_is_told_and_the_watch_goes_on(etchlet, etcd35, prefix, state):
    """A file size limit stands for a full disk: writes fail from some byte on."""
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))
    agent = etchlet.watch(etcd35, "--state", state, "--state-interval=300ms",
                          f"--rev={etcd35.client.revision() + 1}", prefix, preexec=limit)
    for i in range(5):
        etcd35.client.put(prefix.encode(), b"%d" % i)
    assert [key_of(e) for e in agent.wait_events(5)] == [prefix.encode()] * 5
    agent.wait_stderr(re.escape(state))
    assert agent.is_running
    agent.send_signal(signal.SIGTERM)
    assert agent.wait_exit(3) in (0, 1)

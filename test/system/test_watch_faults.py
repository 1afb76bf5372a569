# SPDX-License-Identifier: Apache-2.0
"""Servers that are overloaded, stop half way or contradict themselves: what a watch makes of them."""

import os
import struct
import time

import pytest

from harness import proto, wait
from harness.agent import value_of
from harness.etcd_client import frame
from harness.fake_etcd import MAX_STREAMS
from harness.proto import PUT, Event, KeyValue

RESOURCE_EXHAUSTED = 8
SETTINGS = 4
PROBES = ["--probe-interval=300ms", "--idle-after=60s"]


def urls(fakes):
    return ",".join(f.url for f in fakes)


def has_sync(agent):
    return any(e["type"] in ("sync", "synced") for e in agent.events())


def open_watch(fake, count=1):
    watch = fake.wait_watches(count)
    wait.until(lambda: watch.is_live, 5, "the watch is live")
    return watch


# No stream may be opened.


@pytest.mark.parametrize("need", ["login", "probe", "position", "listing"])
def test_server_that_lets_no_stream_be_opened_is_left(etchlet, servers, state, need):
    fakes = [servers.fake(settings={MAX_STREAMS: 0}) for _ in range(2)]
    words = []
    if need == "login":
        words = ["--user=device:pw"]
    elif need == "position":
        fake = servers.fake()
        agent = etchlet.watch(fake, "--state", state, "k")
        etchlet.wait_position(state, 1)
        agent.stop()
    elif need == "listing":
        with open(state, "wb") as f:
            f.write(b"\x5a" * 16384)
    etchlet.watch(urls(fakes), "--state", state, "--command-timeout=500ms", *PROBES, *words, "k")
    for fake in fakes:
        fake.wait_connections(1, 5)
    one, two = sorted((f.connections[0] for f in fakes), key=lambda c: c.opened)
    assert 0.4 < two.opened - one.opened < 2.5
    assert one.closed is not None
    two.wait_closed(3)
    assert not any(f.calls for f in fakes)


def test_server_that_lets_no_more_streams_be_opened_is_left(etchlet, servers):
    """First it does; what is open then goes on, and when it ends, nothing can begin."""
    fake = servers.fake()
    agent = etchlet.watch(fake, "--rev=2", "--command-timeout=500ms", *PROBES, "k")
    watch = open_watch(fake)
    wait.until(lambda: len(fake.probes()) >= 2, 5, "probes")
    fake.connections[0].raw(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 0)))
    time.sleep(0.5)
    fake.put(b"k", b"1")
    agent.wait_events(1)
    wait.holds_for(lambda: fake.connections[0].closed is None, 2, "the connection")
    watch.cancel("")
    fake.connections[0].wait_closed(4)
    open_watch(fake, 2)
    fake.put(b"k", b"2")
    assert [e["value"] for e in agent.wait_events(2)] == ["1", "2"]


def test_check_of_a_server_that_lets_no_stream_be_opened_ends(etchlet, servers):
    fake = servers.fake(settings={MAX_STREAMS: 0})
    done = etchlet.run("check", "--endpoints", fake.url, "--command-timeout=500ms", timeout_s=8)
    assert done.returncode == 1 and b"takes no calls" in done.stdout + done.stderr


# Answers that cannot be.


@pytest.mark.parametrize("watch_id", [-1, -(1 << 63)])
def test_negative_watch_id_is_the_servers_error(etchlet, servers, watch_id):
    fake = servers.fake()

    def negative(watch):
        if len(fake.watches) > 1:
            return False
        watch.id = watch_id
        watch.created()
        return True
    fake.on_watch = negative
    agent = etchlet.watch(fake, "--rev=2", "k")
    fake.wait_watches()
    fake.connections[0].wait_closed(3)
    agent.wait_stderr(f"watch id {watch_id} ")
    open_watch(fake, 2)
    fake.put(b"k", b"v")
    assert [e["mod_revision"] for e in agent.wait_events(1)] == [2]


def test_raft_term_of_a_created_header_is_not_the_positions(etchlet, servers, state):
    """An isolated member counts its own terms; those of the cluster would be below it for ever."""
    fake = servers.fake()

    def isolated(watch):
        watch.created(header=proto.header(fake.cluster_id, fake.member_id, fake.revision, 50))
        watch.start, watch.is_live = watch.start or fake.revision + 1, True
        return True
    fake.on_watch = isolated
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake)
    etchlet.wait_position(state, 1)
    assert int(etchlet.state(state)["watches"][0]["raft_term"]) == fake.raft_term
    for count in (2, 3, 4):
        fake.cut()
        open_watch(fake, count)
        wait.until(lambda n=len(fake.probes()): len(fake.probes()) > n + 1, 5, "probes")
    fake.put(b"k", b"v")
    agent.wait_events(1)
    assert not has_sync(agent)
    assert len(fake.connections) == 4


def test_first_position_waits_for_a_linearizable_answer(etchlet, servers, state):
    """Without its raft term a restored cluster would not be known again."""
    fake = servers.fake()
    held = []
    is_held = [True]

    def hold(call):
        if is_held[0]:
            held.append(call)
        return is_held[0]
    fake.on["Range"] = hold
    agent = etchlet.watch(fake, "--state", state, "--state-interval=1s", *PROBES,
                          "--command-timeout=10s", "k")
    open_watch(fake)
    fake.put(b"k", b"v")
    agent.wait_events(1)
    wait.until(lambda: held, 5, "a probe")
    wait.holds_for(lambda: etchlet.position(state) is None, 2.5, "nothing is saved", 0.3)
    is_held[0] = False
    for call in held:
        fake.serve_range(call)
    etchlet.wait_position(state, 2, 5)
    assert int(etchlet.state(state)["watches"][0]["raft_term"]) == fake.raft_term


# A state file that turns up late.


def hide(path):
    """It cannot be opened, for a reason that may pass."""
    os.rename(path, path + ".away")
    os.symlink(path, path)


def show(path):
    os.unlink(path)
    os.rename(path + ".away", path)


def at_position_2(etchlet, fake, state):
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake)
    fake.put(b"k", b"1")
    agent.wait_events(1)
    agent.stop()
    assert etchlet.position(state) == 2
    hide(state)


def test_older_position_that_turns_up_late_is_made_up_for(etchlet, servers, state):
    fake = servers.fake()
    at_position_2(etchlet, fake, state)
    fake.put(b"k", b"2")
    fake.put(b"k", b"3")
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake, 2)
    agent.wait_stderr("state file .*cannot open")
    show(state)
    seen = []

    def is_synced():
        seen.append(etchlet.position(state))
        return any(e["type"] == "synced" for e in agent.events())
    wait.until(is_synced, 15, "a synchronisation", 0.1)
    assert set(seen[:-1]) <= {2, 4}, "overwritten before"
    assert [(e["type"], e.get("reason") or e.get("value")) for e in agent.events()] == \
        [("sync", "state"), ("put", "3"), ("synced", None)]
    etchlet.wait_position(state, 4)
    fake.put(b"k", b"4")
    agent.wait_event(lambda e: e.get("value") == "4")
    agent.stop()
    assert etchlet.position(state) == 5


@pytest.mark.parametrize("has_event", [False, True])
def test_position_that_turns_up_late_and_is_not_older_changes_nothing(etchlet, servers, state,
                                                                      has_event):
    fake = servers.fake()
    at_position_2(etchlet, fake, state)
    words = ["--rev=2"] if has_event else []
    agent = etchlet.watch(fake, "--state", state, "--state-interval=1s", *words, *PROBES, "k")
    open_watch(fake, 2)
    agent.wait_stderr("state file .*cannot open")
    show(state)
    agent.wait_stderr("state file: written again", 15)
    revision = fake.put(b"k", b"2")
    agent.wait_event(lambda e: e.get("value") == "2")
    etchlet.wait_position(state, revision)
    assert not has_sync(agent)
    assert len(fake.watches) == 2


@pytest.mark.parametrize("what", ["cluster_id", "raft_term"])
def test_position_of_another_history_that_turns_up_late_is_made_up_for(etchlet, servers, state, what):
    """The cluster was replaced, or restored and written on: its revisions prove nothing."""
    fake = servers.fake()
    at_position_2(etchlet, fake, state)
    setattr(fake, what, getattr(fake, what) - 1)
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake, 2)
    agent.wait_stderr("state file .*cannot open")
    show(state)
    agent.wait_event(lambda e: e["type"] == "synced", 15)
    assert [(e["type"], e.get("reason") or e.get("value")) for e in agent.events()] == \
        [("sync", "state"), ("put", "1"), ("synced", None)]


# Overload.


def test_probe_that_an_overloaded_server_refuses_is_an_answer(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake)
    etchlet.wait_position(state, 1)
    refused = []

    def overloaded(call):
        call.message()
        refused.append(time.monotonic())
        call.trailers_only(RESOURCE_EXHAUSTED, "etcdserver: too many requests")
    fake.on["Range"] = overloaded
    wait.until(lambda: len(refused) >= 4, 10, "four refused probes")
    assert all(b - a > 0.2 for a, b in zip(refused, refused[1:])), "asked faster, not slower"
    fake.put(b"k", b"1")
    agent.wait_events(1)
    assert len(fake.connections) == 1
    assert b"too many requests" not in agent.stderr()


def test_proof_that_an_overloaded_server_refuses_is_asked_for_again(etchlet, servers, state):
    """Nothing goes on without it: it is asked for before the next interval."""
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, *PROBES, "k")
    open_watch(fake)
    etchlet.wait_position(state, 1)
    agent.stop()
    refused = []

    def overloaded(call):
        if len(refused) == 4:
            return False
        call.message()
        refused.append(time.monotonic())
        call.trailers_only(RESOURCE_EXHAUSTED, "etcdserver: too many requests")
        return True
    fake.on["Range"] = overloaded
    fake.put(b"k", b"1")
    agent = etchlet.watch(fake, "--state", state, "--probe-interval=60s", "k")
    assert [e["value"] for e in agent.wait_events(1, 10)] == ["1"]
    assert len(refused) == 4 and len(fake.connections) == 2


# An event that had begun.


def half_an_event(fake, agent, revision=2):
    """On the first stream half of an event with a long value, and then the connection ends."""
    kv = KeyValue(b"k", b"x" * 60000, revision, revision, 1)
    message = proto.watch_response(header=fake.header(revision), watch_id=0, events=[Event(PUT, kv)])

    def on_watch(watch):
        if len(fake.watches) > 1:
            return False
        watch.created()
        watch.call.send_data(struct.pack(">BI", 0, len(message)) + message[: len(message) // 2])
        wait.until(lambda: agent, 5, "the test knows its agent")
        agent[0].out.wait_for(lambda d: len(d) > 20000, 5, "half a line")
        watch.call.connection.close()
        return True
    fake.on_watch = on_watch
    return Event(PUT, kv)


def test_event_that_had_begun_and_never_comes_again_leads_to_a_synchronisation(etchlet, servers,
                                                                              state):
    fake = servers.fake()
    agent = []
    half_an_event(fake, agent)
    fake.revision = 2
    fake.txn([("put", b"k-other", b"v")])
    agent.append(etchlet.watch(fake, "--rev=2", "--state", state, *PROBES, "--prefix", "k"))
    agent[0].wait_event(lambda e: e["type"] == "synced", 10)
    assert [(e["type"], e.get("reason") or e.get("key")) for e in agent[0].events()] == \
        [("sync", "rollback"), ("put", "k-other"), ("synced", None)]
    # The one that was cut, one that did not have it, and one that did not have it either.
    assert len(fake.connections) == 3
    fake.put(b"k-next", b"v")
    agent[0].wait_key("k-next")


def test_event_that_had_begun_and_is_missing_once_is_asked_for_elsewhere(etchlet, servers, state):
    fake = servers.fake()
    agent = []
    event = half_an_event(fake, agent)
    fake.history.append(event)
    fake.revision = 2
    fake.txn([("put", b"k-other", b"v")])
    begin = fake.on_watch

    def without_it_once(watch):
        if len(fake.watches) == 2:
            watch.created()
            watch.events(fake.history[1:])
            return True
        return begin(watch)
    fake.on_watch = without_it_once
    agent.append(etchlet.watch(fake, "--rev=2", "--state", state, *PROBES, "--prefix", "k"))
    events = agent[0].wait_events(2)
    assert [(e["type"], e["mod_revision"]) for e in events] == [("put", 2), ("put", 3)]
    assert value_of(events[0]) == event.kv.value
    assert len(fake.connections) == 3


@pytest.mark.parametrize("is_progress", [False, True])
def test_event_that_had_begun_and_is_missing_is_not_passed_over(etchlet, servers, state, is_progress):
    """Neither by the idle rule nor by a notification: it was not delivered."""
    fake = servers.fake()
    agent = []
    half_an_event(fake, agent)
    fake.revision = 2
    fake.txn([("put", b"other", b"v")])
    agent.append(etchlet.watch(fake, "--rev=2", "--state", state, "--state-interval=1s",
                               "--probe-interval=300ms", "--idle-after=900ms", "--prefix", "k"))
    watch = open_watch(fake, 2)
    if is_progress:
        watch.progress()
    wait.holds_for(lambda: (etchlet.position(state) or 0) < 2, 4, "the position waits", 0.3)


# Answers that stop in their middle.


def test_response_that_stops_in_its_middle_is_left(etchlet, servers):
    """Probes and PINGs are answered all the while."""
    fake = servers.fake()
    value = b"x" * 60000

    def stops(watch):
        if len(fake.watches) > 1:
            return False
        watch.created()
        message = proto.watch_response(header=fake.header(), watch_id=0, events=fake.history)
        watch.call.send_data(struct.pack(">BI", 0, len(message)) + message[:30000])
        return True
    fake.on_watch = stops
    fake.put(b"k", value)
    agent = etchlet.watch(fake, "--rev=2", "--command-timeout=1s", *PROBES, "k")
    fake.wait_watches()
    began = time.monotonic()
    fake.connections[0].wait_closed(4)
    assert 0.9 < time.monotonic() - began < 2.5
    assert [value_of(e) for e in agent.wait_events(1)] == [value]


def test_listing_that_stops_in_its_middle_is_left(etchlet, servers, state):
    fake = servers.fake()
    fake.put(b"k", b"x" * 60000)
    with open(state, "wb") as f:
        f.write(b"\x5a" * 16384)

    def stops(call, number):
        if number > 1:
            return False
        message = proto.range_response(fake.header(), [e.kv for e in fake.history], False, 1)
        call.send_headers()
        call.send_data(struct.pack(">BI", 0, len(message)) + message[:30000])
        return True
    fake.on_page = stops
    agent = etchlet.watch(fake, "--state", state, "--command-timeout=1s", *PROBES, "--prefix", "k")
    wait.until(lambda: fake.pages, 5, "a page")
    began = time.monotonic()
    fake.connections[0].wait_closed(4)
    assert 0.9 < time.monotonic() - began < 2.5
    agent.wait_event(lambda e: e["type"] == "synced")


@pytest.mark.parametrize("is_listing", [False, True])
def test_answer_that_the_output_holds_up_has_not_stopped(etchlet, servers, state, is_listing):
    fake = servers.fake()
    value = b"x" * 1000000
    fake.put(b"k", value)
    words = ["--rev=2"]
    if is_listing:
        words = ["--state", state]
        with open(state, "wb") as f:
            f.write(b"\x5a" * 16384)
    agent = etchlet.watch(fake, *words, "--command-timeout=500ms", *PROBES, "--prefix", "k",
                          paused=True)
    wait.until(lambda: fake.pages if is_listing else fake.watches, 5, "it is asked for")
    wait.holds_for(lambda: fake.connections[0].closed is None, 4, "the connection")
    agent.out.resume()
    event = agent.wait_event(lambda e: e.get("key") == "k")
    assert value_of(event) == value
    assert len(fake.connections) == 1


# A revision of the user's own.


def test_given_revision_above_the_servers_is_waited_for(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--rev=6", *PROBES, "k")
    open_watch(fake)
    wait.until(lambda: len(fake.probes()) >= 5, 10, "probes")
    fake.cut()
    open_watch(fake, 2)
    wait.until(lambda: len(fake.probes()) >= 10, 10, "probes")
    for i in range(2, 8):
        fake.put(b"k", b"%d" % i)
    assert [e["mod_revision"] for e in agent.wait_events(2)] == [6, 7]
    assert not has_sync(agent)
    assert len(fake.connections) == 2


def test_given_revision_counts_once_a_server_was_beyond_it(etchlet, servers):
    """From then on a server that is behind it has been restored."""
    fake = servers.fake()
    for i in range(9):
        fake.put(b"other", b"v")
    agent = etchlet.watch(fake, "--rev=6", *PROBES, "k")
    open_watch(fake)
    wait.until(lambda: len(fake.probes()) >= 3, 10, "probes")
    with fake.lock:
        fake.history, fake.revision = [], 1
        fake.put(b"k", b"restored")
    agent.wait_event(lambda e: e["type"] == "synced", 10)
    assert agent.events()[0]["reason"] == "rollback"


def test_given_revision_that_counts_is_proved_before_the_watch(etchlet, servers):
    """A restored cluster that was written past it: its events are not those asked for."""
    fake = servers.fake()
    fake.raft_term = 9
    for i in range(9):
        fake.put(b"other", b"v")
    agent = etchlet.watch(fake, "--rev=6", *PROBES, "k")
    open_watch(fake)
    wait.until(lambda: len(fake.probes()) >= 3, 10, "probes")
    # The proof takes its time, and the watch would not.
    def slow(_call):
        time.sleep(0.3)
        return False
    fake.on["Range"] = slow
    with fake.lock:
        fake.history, fake.revision, fake.raft_term = [], 1, 2
        for i in range(12):
            fake.txn([("put", b"k", b"%d" % i)], send=False)
        fake.cut()
    agent.wait_event(lambda e: e["type"] == "synced", 10)
    assert [(e["type"], e.get("reason") or e.get("value")) for e in agent.events()] == \
        [("sync", "rollback"), ("put", "11"), ("synced", None)]

# SPDX-License-Identifier: Apache-2.0
"""Full synchronisations: compaction, another cluster, a server behind, a damaged state."""

import re
import threading
import time

import pytest

from harness import wait
from harness.agent import put_line, value_of
from harness.fake_etcd import COMPACTED, OUT_OF_RANGE
from harness.proto import PUT, Event, KeyValue
from harness.proxy import Plan

PROBES = ["--probe-interval=300ms", "--idle-after=60s"]


def follow(etchlet, server, state, *words):
    """A watch of the prefix k that has a position, and is stopped with it saved."""
    agent = etchlet.watch(server, "--state", state, "--prefix", *words, "k")
    etchlet.wait_position(state, 1)
    agent.stop()
    return etchlet.position(state)


def fill_and_compact(fake):
    """3,000 keys in one revision, and all history forgotten but what comes next."""
    fake.txn([("put", b"k%05d" % i, b"v") for i in range(3000)])
    fake.put(b"other", b"v")
    fake.compact(fake.revision)


def resume(etchlet, server, state, *words):
    return etchlet.watch(server, "--state", state, "--prefix", *words, "k")


def listing(events, at=0):
    """The events between a sync line, at that place, and its synced line."""
    assert events[at]["type"] == "sync", events[at]
    end = next(i for i, e in enumerate(events[at:], at) if e["type"] == "synced")
    assert events[end]["revision"] == events[at]["revision"]
    keys = events[at + 1 : end]
    assert all(e["type"] == "put" and e["sync"] is True for e in keys)
    return keys


def no_sync(agent):
    return all(e["type"] not in ("sync", "synced") for e in agent.events())


# Compaction.


def test_compacted_while_away_gives_every_key_in_order(etchlet, servers, version, state):
    etcd = servers.etcd(version)
    etcd.client.put(b"k-gone", b"v")
    etcd.client.put(b"k-old", b"v")
    follow(etchlet, etcd, state)
    etcd.client.delete(b"k-gone")
    for name in (b"b", b"a", b"c"):
        etcd.client.put(b"k-" + name, name)
    etcd.client.put(b"other", b"v")
    now = etcd.client.revision()
    etcd.client.compact(now)
    agent = resume(etchlet, etcd, state)
    kvs = [etcd.client.get(k) for k in (b"k-a", b"k-b", b"k-c", b"k-old")]
    expected = [b'{"type":"sync","reason":"compacted","revision":%d,"compact_revision":%d}'
                % (now, now)]
    expected += [put_line(kv, sync=True) for kv in kvs]
    expected.append(b'{"type":"synced","revision":%d}' % now)
    assert agent.wait_lines(6) == expected
    # The watch goes on where the listing ended, and the position is the listing's.
    etcd.client.put(b"k-d", b"live")
    assert agent.wait_lines(7)[6] == put_line(etcd.client.get(b"k-d"))
    agent.stop()
    assert etchlet.position(state) == now + 1
    again = resume(etchlet, etcd, state)
    etcd.client.put(b"k-e", b"after")
    assert [e["key"] for e in again.wait_events(1)] == ["k-e"]


def test_synchronisation_of_nothing_is_complete(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"v")
    follow(etchlet, etcd, state)
    etcd.client.delete(b"k")
    etcd.client.put(b"other", b"v")
    etcd.client.compact(etcd.client.revision())
    agent = resume(etchlet, etcd, state)
    assert listing(agent.wait_events(2)) == []


def test_synchronisation_of_a_single_key(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"1")
    agent = etchlet.watch(etcd, "--state", state, "k")
    etchlet.wait_position(state, 1)
    agent.stop()
    etcd.client.put(b"k", b"2")
    etcd.client.put(b"k2", b"x")
    etcd.client.compact(etcd.client.revision())
    agent = etchlet.watch(etcd, "--state", state, "k")
    assert [e["value"] for e in listing(agent.wait_events(3))] == ["2"]


def test_start_at_the_compacted_revision_plus_one_needs_no_synchronisation(etchlet, servers, state):
    """position + 1 is not compacted: nothing was missed. (A version that loses no deletes.)"""
    etcd = servers.etcd("3.5-latest")
    etcd.client.put(b"k", b"1")
    position = follow(etchlet, etcd, state)
    etcd.client.compact(position)
    etcd.client.put(b"k", b"2")
    agent = resume(etchlet, etcd, state)
    assert [e.get("value") for e in agent.wait_events(1)] == ["2"]


def test_compaction_while_running_does_not_disturb(etchlet, servers, version):
    etcd = servers.etcd(version)
    agent = etchlet.watch(etcd, "--rev=2", "--prefix", "k")
    for i in range(20):
        revision = etcd.client.put(b"k", b"%d" % i)
        agent.wait_lines(i + 1)
        etcd.client.compact(revision)
    assert no_sync(agent)


def test_slow_reader_behind_a_compaction_is_synchronised(etchlet, servers, version):
    """The server forgets what a blocked reader has not fetched yet: nothing is lost silently."""
    etcd = servers.etcd(version)
    agent = etchlet.watch(etcd, "--rev=2", "--prefix", "k", paused=True)
    count = 4000
    etcd.client.put_many((b"k%02d" % (i % 50), b"x" * 2000 + b"%d" % i) for i in range(count))
    etcd.client.compact(etcd.client.revision())
    agent.out.resume()
    last = etcd.client.put(b"k-end", b"end")
    wait_up_to(agent, last)
    assert_complete(agent.events(), 2, last, etcd)


def wait_up_to(agent, revision):
    """That revision was printed as an event, or a listing that covers it is complete."""
    agent.wait_event(lambda e: e.get("mod_revision", 0) >= revision and not e.get("sync")
                     or e["type"] == "synced" and e["revision"] >= revision, 30)


def assert_complete(events, first, last, etcd):
    """Every revision came in turn, or a listing took the place of those that were skipped."""
    expected, replica, staged = first, {}, None
    for event in events:
        if event["type"] == "sync":
            staged = {}
        elif event["type"] == "synced":
            replica, staged = staged, None
            expected = event["revision"] + 1
        elif staged is not None:
            staged[event["key"]] = value_of(event)
        else:
            assert event["mod_revision"] == expected, "a gap, or a repetition"
            expected += 1
            if event["type"] == "put":
                replica[event["key"]] = value_of(event)
            else:
                replica.pop(event["key"], None)
    assert expected == last + 1
    now = {kv.key.decode(): kv.value for kv in etcd.client.range(b"k", b"l").kvs}
    assert replica == now


def test_paged_listing_is_pinned_while_keys_change(etchlet, servers, version, state):
    etcd = servers.etcd(version, flags={"max-txn-ops": 5000})
    etcd.client.put(b"k", b"v")
    follow(etchlet, etcd, state)
    etcd.client.txn([("put", b"k%05d" % i, b"x" * 200) for i in range(4000)])
    now = etcd.client.revision()
    etcd.client.compact(now)
    stop = threading.Event()

    def change():
        client = etcd.new_client()
        i = 0
        while not stop.is_set():
            client.put(b"k%05d" % (3999 - i % 2000), b"changed")
            client.delete(b"k%05d" % (i % 4000))
            client.put(b"k%05d-new" % i, b"new")
            i += 1
        client.close()
    proxy = servers.proxy(etcd)
    proxy.default.segment, proxy.default.delay_s = 20_000, 0.005
    changer = threading.Thread(target=change)
    changer.start()
    try:
        agent = resume(etchlet, proxy, state)
        agent.wait_event(lambda e: e["type"] == "synced", 30)
    finally:
        stop.set()
        changer.join()
    last = etcd.client.put(b"k-end", b"end")
    wait_up_to(agent, last)
    events = agent.events()
    keys = listing(events)
    assert events[0]["revision"] >= now
    assert [e["key"] for e in keys] == sorted(e["key"] for e in keys)
    assert all(e["mod_revision"] <= events[0]["revision"] for e in keys)
    assert_complete(events, 0, last, etcd)


def test_pages_after_the_first_ask_for_its_revision(etchlet, servers, state):
    fake = servers.fake()
    position = follow(etchlet, fake, state)
    fill_and_compact(fake)
    pinned = fake.revision
    assert pinned > position

    def change_meanwhile(call, _number):
        fake.answer_range(call)
        fake.put(b"k00000", b"later")
        fake.delete(b"k02999")
        return True
    fake.on_page = change_meanwhile
    agent = resume(etchlet, fake, state)
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    pages = [c.request for c in fake.calls_of("Range") if c.request.range_end]
    first = next(p for p in pages if not p.revision)
    later = [p for p in pages if p.revision]
    assert later and {p.revision for p in later} == {pinned}
    assert not first.serializable and all(p.range_end == b"l" for p in pages)
    events = agent.events()
    keys = listing(events)
    assert [e["key"] for e in keys] == ["k%05d" % i for i in range(3000)]
    assert {e["value"] for e in keys} == {"v"}
    # What changed meanwhile comes after it, in full.
    agent.wait_event(lambda e: e["type"] == "delete")
    assert agent.events()[len(keys) + 2]["mod_revision"] == pinned + 1


def test_listing_that_breaks_off_begins_again(etchlet, servers, state):
    fake = servers.fake()
    follow(etchlet, fake, state)
    fill_and_compact(fake)
    broken = []

    def cut_the_second_page(call, number):
        if number == 2:
            broken.append(True)
            call.connection.close()
        return number == 2
    fake.on_page = cut_the_second_page
    agent = resume(etchlet, fake, state)
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    events = agent.events()
    syncs = [i for i, e in enumerate(events) if e["type"] == "sync"]
    assert broken and syncs
    keys = listing(events, syncs[-1])
    assert [e["key"] for e in keys] == ["k%05d" % i for i in range(3000)]


def test_listing_cut_anywhere_is_whole_in_the_end(etchlet, servers, state):
    """Cut by bytes, through values as well; after the last sync line there is everything."""
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"v")
    follow(etchlet, etcd, state)
    for i in range(300):
        etcd.client.put(b"k%05d" % i, b"%05d" % i * 400)
    now = etcd.client.revision()
    etcd.client.compact(now)
    proxy = servers.proxy(etcd)
    for cut in (300, 3_000, 30_000, 100_001, 200_002, 300_003):
        proxy.plans.append(Plan(cut_down=cut))
    agent = resume(etchlet, proxy, state)
    etcd.client.put(b"k-end", b"end")
    agent.wait_event(lambda e: e["type"] == "synced", 30)
    agent.wait_key("k-end", 10)
    events = agent.events()
    last_sync = max(i for i, e in enumerate(events) if e["type"] == "sync")
    keys = listing(events, last_sync)
    kvs = etcd.client.range(b"k", b"l", revision=events[last_sync]["revision"]).kvs
    assert [value_of(e) for e in keys] == [kv.value for kv in kvs]


def test_compaction_during_the_listing_begins_it_again(etchlet, servers, state):
    fake = servers.fake()
    follow(etchlet, fake, state)
    fill_and_compact(fake)
    refused = []

    def compacted_meanwhile(call, number):
        if number == 2:
            refused.append(True)
            fake.put(b"k-more", b"v")
            fake.compact(fake.revision)
            call.trailers_only(OUT_OF_RANGE, COMPACTED)
        return number == 2
    fake.on_page = compacted_meanwhile
    agent = resume(etchlet, fake, state)
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    events = agent.events()
    syncs = [i for i, e in enumerate(events) if e["type"] == "sync"]
    assert refused and len(syncs) == 2
    assert len(listing(events, syncs[-1])) == 3001
    assert events[-1]["revision"] == fake.revision


def test_loop_of_compactions_comes_to_an_end(etchlet, servers, state):
    """Each of the first watches after a listing is compacted too; no tight loop, then all is well."""
    fake = servers.fake()
    fake.put(b"k1", b"v")
    follow(etchlet, fake, state)
    refusals = []

    def compacted(watch):
        if len(refusals) < 4:
            refusals.append(time.monotonic())
            fake.put(b"k1", b"%d" % len(refusals))
            fake.compact(fake.revision + 1)
            fake.put(b"other", b"v")
            watch.created()
            watch.cancel(compact_revision=fake.compacted, header=b"",
                         reason="etcdserver: mvcc: required revision has been compacted")
            return True
        return False
    fake.on_watch = compacted
    agent = resume(etchlet, fake, state)
    wait.until(lambda: len(refusals) == 4 and fake.watches[-1].is_live, 20, "a watch that stays")
    last = fake.put(b"k1", b"end")
    agent.wait_event(lambda e: e.get("mod_revision") == last)
    events = agent.events()
    last_synced = max(i for i, e in enumerate(events) if e["type"] == "synced")
    assert [e["value"] for e in events[last_synced + 1 :]][-1] == "end"
    agent.stop()
    assert etchlet.position(state) == last


def test_compaction_cancel_without_a_reason_text_counts(etchlet, servers, state):
    """compact_revision alone says it; older servers send no text."""
    fake = servers.fake()
    fake.put(b"k1", b"v")
    position = follow(etchlet, fake, state)
    fake.put(b"k1", b"w")
    fake.put(b"other", b"v")
    fake.compact(fake.revision)

    def cancel(watch):
        if watch.start <= position + 1:
            watch.created()
            watch.cancel(compact_revision=fake.compacted, header=b"")
            return True
        return False
    fake.on_watch = cancel
    agent = resume(etchlet, fake, state)
    events = agent.wait_events(3)
    assert events[0]["reason"] == "compacted" and events[0]["compact_revision"] == fake.compacted
    assert events[1]["value"] == "w"


def test_kill_during_the_listing_synchronises_again(etchlet, servers, state):
    fake = servers.fake()
    position = follow(etchlet, fake, state)
    fill_and_compact(fake)
    fake.on_page = lambda _call, number: number >= 2
    agent = resume(etchlet, fake, state, "--state-interval=100ms")
    agent.wait_lines(100)
    agent.kill()
    assert etchlet.position(state) == position
    fake.on_page = None
    agent = resume(etchlet, fake, state)
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    assert len(listing(agent.events())) == 3000


def test_stop_during_the_listing_synchronises_again(etchlet, servers, state):
    fake = servers.fake()
    position = follow(etchlet, fake, state)
    fill_and_compact(fake)
    fake.on_page = lambda _call, number: number >= 2
    agent = resume(etchlet, fake, state)
    agent.wait_lines(100)
    agent.stop()
    assert etchlet.position(state) == position


def test_value_above_max_value_is_as_good_as_absent_in_a_listing(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"v")
    follow(etchlet, etcd, state)
    etcd.client.put(b"k1", b"x" * 5000)
    etcd.client.put(b"k2", b"y")
    etcd.client.compact(etcd.client.revision())
    agent = resume(etchlet, etcd, state, "--max-value=4K")
    agent.wait_event(lambda e: e["type"] == "synced")
    assert [e["key"] for e in listing(agent.events())] == ["k", "k2"]
    agent.wait_stderr("k1|value")


# Another cluster.


def test_another_cluster_is_synchronised(etchlet, servers, version, state):
    etcd = servers.etcd(version)
    etcd.client.put_many((b"k-old", b"%d" % i) for i in range(20))
    follow(etchlet, etcd, state)
    agent = resume(etchlet, etcd, state, *PROBES)
    etcd.client.put(b"k-old", b"live")
    agent.wait_events(1)
    etcd.terminate()
    etcd.wipe("another-token")
    etcd.start()
    etcd.client.put_many((b"k-new", b"%d" % i) for i in range(50))
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    events = agent.events()
    assert events[1]["type"] == "sync" and events[1]["reason"] == "cluster"
    assert "compact_revision" not in events[1]
    revision = events[1]["revision"]
    assert [e["key"] for e in listing(events, 1)] == (["k-new"] if revision > 1 else [])
    last = etcd.client.put(b"k-new", b"end")
    agent.wait_event(lambda e: e.get("mod_revision") == last and e.get("value") == "end")
    agent.stop()
    # The position went back, and the new cluster's id is kept with it.
    assert etchlet.position(state) == last
    assert etchlet.state(state)["watches"][0]["cluster_id"] == str(
        etcd.client.range(b"a").header.cluster_id)


def test_another_cluster_while_away_is_synchronised(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    etcd.client.put_many((b"k-old", b"%d" % i) for i in range(20))
    follow(etchlet, etcd, state)
    etcd.terminate()
    etcd.wipe("another-token")
    etcd.start()
    etcd.client.put_many((b"k-new", b"%d" % i) for i in range(50))
    agent = resume(etchlet, etcd, state, *PROBES)
    agent.wait_event(lambda e: e["type"] == "synced", 20)
    events = agent.events()
    assert events[0]["reason"] == "cluster", events
    assert [e["key"] for e in listing(events)] == ["k-new"]


def test_cluster_id_of_one_odd_answer_is_not_believed(etchlet, servers, state):
    """The next connection does not confirm it."""
    fake = servers.fake()
    follow(etchlet, fake, state)
    real = fake.cluster_id
    odd = []

    def once(call):
        if not odd:
            odd.append(call)
            fake.cluster_id = 0xBAD
            fake.serve_range(call)
            fake.cluster_id = real
            return True
        return False
    fake.on["Range"] = once
    agent = resume(etchlet, fake, state, *PROBES)
    wait.until(lambda: odd and len(fake.probes()) >= 4, 15, "probes after it")
    last = fake.put(b"k", b"end")
    agent.wait_event(lambda e: e.get("mod_revision") == last)
    assert no_sync(agent)


def test_header_without_a_cluster_id_counts_for_nothing(etchlet, servers, state):
    """A proxy may send headers with a revision alone, or none."""
    fake = servers.fake()
    follow(etchlet, fake, state)
    fake.cluster_id = 0
    agent = resume(etchlet, fake, state, *PROBES)
    wait.until(lambda: len(fake.probes()) >= 3, 10)
    watch = fake.watches[-1]
    watch.events([Event(PUT, KeyValue(b"k", b"v", 2, 2, 1))], header=b"")
    agent.wait_events(1)
    assert no_sync(agent)


# A server behind.


def test_restored_backup_is_synchronised(etchlet, servers, version, state):
    """The cluster id is the same and no error comes: only the revision tells."""
    etcd = servers.etcd(version)
    etcd.client.put(b"k-kept", b"1")
    snapshot = etcd.snapshot()
    agent = resume(etchlet, etcd, state, "--rev=2", *PROBES)
    etcd.client.put_many((b"k-lost", b"%d" % i) for i in range(20))
    agent.wait_events(21)
    etcd.terminate()
    etcd.restore(snapshot)
    etcd.start()
    agent.wait_event(lambda e: e["type"] == "synced", 25)
    events = agent.events()
    assert events[21] == {"type": "sync", "reason": "rollback", "revision": 2}
    assert [e["key"] for e in listing(events, 21)] == ["k-kept"]
    etcd.client.put(b"k-next", b"v")
    agent.wait_key("k-next")
    agent.stop()
    assert etchlet.position(state) == 3


def test_restored_backup_while_away_is_synchronised(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k-kept", b"1")
    snapshot = etcd.snapshot()
    etcd.client.put_many((b"k-lost", b"%d" % i) for i in range(20))
    follow(etchlet, etcd, state)
    etcd.terminate()
    etcd.restore(snapshot)
    etcd.start()
    agent = resume(etchlet, etcd, state, *PROBES)
    agent.wait_event(lambda e: e["type"] == "synced", 25)
    assert agent.events()[0]["reason"] == "rollback"
    assert [e["key"] for e in listing(agent.events())] == ["k-kept"]


def test_older_raft_term_is_a_server_behind(etchlet, servers, state):
    """Restored, and written past the position before the agent came back."""
    fake = servers.fake()
    fake.raft_term = 9
    for i in range(10):
        fake.put(b"k%d" % i, b"before")
    follow(etchlet, fake, state)
    assert etchlet.state(state)["watches"][0]["raft_term"] in ("9", 9)
    fake.raft_term = 2
    fake.history.clear()
    fake.put(b"k-new", b"after")
    agent = resume(etchlet, fake, state, *PROBES)
    agent.wait_event(lambda e: e["type"] == "synced", 25)
    assert agent.events()[0]["reason"] == "rollback"
    assert [e["key"] for e in listing(agent.events())] == ["k-new"]


def test_lagging_member_is_no_rollback(etchlet, servers, state):
    """Its watch answers show an older revision; what it answers linearizably does not."""
    fake = servers.fake()
    for i in range(10):
        fake.put(b"k", b"%d" % i)
    position = follow(etchlet, fake, state)

    def behind(watch):
        watch.created(header=fake.header(position - 5))
        watch.progress(position - 3)
        watch.is_live = True
        return True
    fake.on_watch = behind
    agent = resume(etchlet, fake, state, *PROBES)
    wait.until(lambda: len(fake.probes()) >= 5, 15, "five probes")
    watch = fake.watches[-1]
    watch.start = position + 1
    fake.put(b"k", b"end")
    assert [e["value"] for e in agent.wait_events(1)] == ["end"]
    agent.stop()
    assert etchlet.position(state) == position + 1


def test_older_raft_term_in_a_watch_answer_proves_nothing(etchlet, servers, state):
    fake = servers.fake()
    fake.raft_term = 9
    fake.put(b"k", b"1")
    follow(etchlet, fake, state)

    def older(watch):
        fake.raft_term = 3
        watch.created()
        fake.raft_term = 9
        watch.start = fake.revision + 1
        watch.is_live = True
        return True
    fake.on_watch = older
    agent = resume(etchlet, fake, state, *PROBES)
    wait.until(lambda: len(fake.probes()) >= 4, 15)
    fake.put(b"k", b"end")
    assert [e["value"] for e in agent.wait_events(1)] == ["end"]


def test_second_endpoint_that_does_not_confirm_prevents_the_synchronisation(etchlet, servers, state):
    healthy = servers.fake()
    for i in range(10):
        healthy.put(b"k", b"%d" % i)
    position = follow(etchlet, healthy, state)
    stale = servers.fake()
    stale.cluster_id, stale.raft_term = healthy.cluster_id, healthy.raft_term
    stale.revision = position - 4
    # Which endpoint it begins with is its own choice: until it was the stale one.
    for _ in range(12):
        before = len(healthy.watches)
        agent = resume(etchlet, f"{stale.url},{healthy.url}", state, *PROBES)
        wait.until(lambda b=before: healthy.watches[b:] and healthy.watches[-1].is_live, 20,
                   "it goes to the healthy endpoint")
        last = healthy.put(b"k", b"end")
        agent.wait_event(lambda e, r=last: e.get("mod_revision") == r)
        assert no_sync(agent)
        agent.stop()
        if stale.calls:
            break
    assert stale.calls


def test_second_endpoint_that_confirms_leads_to_the_synchronisation(etchlet, servers, state):
    first = servers.fake()
    for i in range(10):
        first.put(b"k", b"%d" % i)
    follow(etchlet, first, state)
    second = servers.fake()
    for fake in (first, second):
        fake.cluster_id, fake.revision, fake.history = first.cluster_id, 1, []
        fake.put(b"k-restored", b"v")
    agent = resume(etchlet, f"{first.url},{second.url}", state, *PROBES)
    agent.wait_event(lambda e: e["type"] == "synced", 25)
    assert agent.events()[0]["reason"] == "rollback"
    assert [e["key"] for e in listing(agent.events())] == ["k-restored"]
    assert [c for c in first.calls_of("Range")] and [c for c in second.calls_of("Range")]


@pytest.mark.parametrize("revision", [-1, -(1 << 63), 1 << 62, (1 << 63) - 1])
def test_impossible_revision_is_the_servers_error(etchlet, servers, state, revision):
    fake = servers.fake()
    fake.put(b"k", b"1")
    position = follow(etchlet, fake, state)
    odd = []

    def once(watch):
        if odd:
            return False
        odd.append(watch)
        watch.created()
        watch.send(events=[Event(PUT, KeyValue(b"k", b"bad", 2, revision, 2))],
                   header=fake.header(revision))
        return True
    fake.on_watch = once
    agent = resume(etchlet, fake, state)
    wait.until(lambda: len(fake.watches) >= 3 and fake.watches[-1].is_live, 10, "another watch")
    fake.put(b"k", b"good")
    assert [e["value"] for e in agent.wait_events(1)] == ["good"]
    assert fake.watches[-1].start == position + 1
    agent.wait_stderr("revision")


# A damaged state file: more of it in test_state.py.


@pytest.mark.parametrize("damage", ["text", "zeros", "random", "short"])
def test_damaged_state_leads_to_a_full_synchronisation(etchlet, servers, state, damage):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"v")
    follow(etchlet, etcd, state)
    with open(state, "rb") as f:
        size = len(f.read())
    content = {
        "text": b"root:x:0:0:root:/root:/bin/sh\n" * (size // 30 + 1),
        "zeros": b"\0" * size,
        "random": bytes((i * 197 + (i >> 8) * 31 + 5) % 255 for i in range(size)),
        "short": b"\x01\x02\x03",
    }[damage]
    with open(state, "wb") as f:
        f.write(content)
    agent = resume(etchlet, etcd, state)
    events = agent.wait_events(3)
    now = etcd.client.revision()
    assert agent.out.lines()[0] == b'{"type":"sync","reason":"state","revision":%d}' % now
    assert [e["key"] for e in listing(events)] == ["k"]
    agent.wait_stderr(re.escape(state))
    agent.stop()
    assert etchlet.position(state) == now


@pytest.mark.parametrize("content", [b"", b"\xff" * 4096, b"\xff" * 65536])
def test_empty_or_erased_state_is_no_position(etchlet, servers, state, content):
    etcd = servers.etcd("3.5")
    etcd.client.put(b"k", b"before")
    with open(state, "wb") as f:
        f.write(content)
    agent = resume(etchlet, etcd, state)
    etchlet.wait_position(state, etcd.client.revision())
    etcd.client.put(b"k", b"after")
    assert [e.get("value") for e in agent.wait_events(1)] == ["after"]

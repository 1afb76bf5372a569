# SPDX-License-Identifier: Apache-2.0
"""Broken connections, several endpoints, clusters, backoff, keepalive: nothing is lost or repeated."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import wait
from harness.agent import parse, put_line, value_of
from harness.etcd_client import GrpcError
from harness.fake_etcd import UNAVAILABLE
from harness.proto import PUT, Event, KeyValue
from harness.proxy import Plan


def revisions(agent):
    return [e["mod_revision"] for e in agent.events()]


def urls(endpoints):
    return ",".join(e.url for e in endpoints)


def in_use(fakes):
    """Which of two servers the agent chose to begin with, and the other."""
    wait.until(lambda: any(f.watches and f.watches[0].is_live for f in fakes), 10, "a watch")
    one, two = fakes
    return (one, two) if one.watches else (two, one)


def assert_exactly_once(agent, first, last, timeout_s=30):
    """Every revision once, in order; a single event each."""
    agent.wait_event(lambda e: e["mod_revision"] >= last, timeout_s)
    assert revisions(agent) == list(range(first, last + 1))


# Cuts.


@pytest.mark.parametrize("rst", [False, True])
def test_cut_connections_lose_and_repeat_nothing(etchlet, etcd, prefix, servers, rst):
    proxy = servers.proxy(etcd)
    first = etcd.client.revision() + 1
    agent = etchlet.watch(proxy, f"--rev={first}", "--prefix", prefix)
    for round_number in range(6):
        last = etcd.client.put_many((prefix.encode() + b"%d" % i, b"v") for i in range(20))
        if round_number % 2:
            agent.wait_event(lambda e, r=last: e["mod_revision"] == r)
        proxy.cut(rst)
    last = etcd.client.put(prefix.encode(), b"end")
    assert_exactly_once(agent, first, last)


def test_cut_at_random_bytes_loses_and_repeats_nothing(etchlet, etcd, prefix, servers):
    chance = random.Random(20240607)
    proxy = servers.proxy(etcd)
    for _ in range(25):
        proxy.plans.append(Plan(cut_down=chance.randrange(10, 60_000), rst=chance.random() < 0.3,
                                segment=chance.choice([7, 100, 1500, 65536])))
    first = etcd.client.put_many((prefix.encode() + b"%d" % (i % 9), b"x" * chance.randrange(400))
                                 for i in range(3000)) - 2999
    agent = etchlet.watch(proxy, f"--rev={first}", "--prefix", prefix)
    assert_exactly_once(agent, first, first + 2999, 60)


def test_cut_requests_are_sent_again(etchlet, etcd35, prefix, servers):
    proxy = servers.proxy(etcd35)
    for cut in (1, 10, 24, 30, 60, 100, 150, 200, 300):
        proxy.plans.append(Plan(cut_up=cut))
    first = etcd35.client.put(prefix.encode(), b"v")
    agent = etchlet.watch(proxy, f"--rev={first}", prefix)
    agent.wait_events(1, 20)


def test_bytes_one_by_one_change_nothing(etchlet, etcd, prefix, servers):
    proxy = servers.proxy(etcd)
    proxy.default.segment = 1
    first = etcd.client.put_many((prefix.encode() + b"%d" % i, b"v%d" % i) for i in range(50)) - 49
    agent = etchlet.watch(proxy, f"--rev={first}", "--prefix", prefix)
    kvs = etcd.client.range(prefix.encode(), prefix.encode() + b"\xff").kvs
    assert agent.wait_lines(50) == [put_line(kv) for kv in sorted(kvs, key=lambda k: k.mod_revision)]


def test_half_closed_connection_is_a_lost_one(etchlet, etcd35, prefix, servers):
    proxy = servers.proxy(etcd35)
    first = etcd35.client.revision() + 1
    agent = etchlet.watch(proxy, f"--rev={first}", "--prefix", prefix)
    etcd35.client.put(prefix.encode(), b"1")
    agent.wait_events(1)
    proxy.links[-1].half_close()
    etcd35.client.put(prefix.encode(), b"2")
    assert_exactly_once(agent, first, first + 1)
    assert len(proxy.links) == 2


@pytest.mark.parametrize("cut", [1000, 100_000, 700_000, 1_000_000])
def test_cut_inside_a_value_leaves_its_line_whole(etchlet, etcd, prefix, servers, cut):
    proxy = servers.proxy(etcd)
    proxy.plans.append(Plan(cut_down=cut))
    proxy.plans.append(Plan(cut_down=cut + 12_345))
    key, value = prefix.encode(), bytes(range(256)) * 4096
    first = etcd.client.put(key, value)
    etcd.client.put(key, b"after")
    agent = etchlet.watch(proxy, f"--rev={first}", prefix)
    lines = agent.wait_lines(2, 20)
    assert len(lines) == 2
    assert lines[0] == put_line(KeyValue(key, value, parse(lines[1])["create_revision"], first,
                                         parse(lines[1])["version"] - 1))
    assert parse(lines[1])["value"] == "after"


@pytest.mark.parametrize("cut", [20_000, 400_000, 800_000])
def test_cut_inside_a_transaction_delivers_each_event_once(etchlet, etcd, prefix, servers, state, cut):
    proxy = servers.proxy(etcd)
    proxy.plans.append(Plan(cut_down=cut))
    names = [prefix.encode() + b"%03d" % i for i in range(40)]
    revision = etcd.client.txn([("put", n, b"%d" % i * 12_000) for i, n in enumerate(names)])
    agent = etchlet.watch(proxy, "--state", state, f"--rev={revision}", "--prefix", prefix)
    events = agent.wait_events(40, 20)
    assert [e["key"].encode() for e in events] == names
    last = etcd.client.put(prefix.encode() + b"z", b"end")
    agent.wait_key(prefix + "z")
    assert len(agent.events()) == 41
    agent.stop()
    assert etchlet.position(state) == last


def test_fragments_of_one_revision_cut_in_the_middle_are_delivered_once(etchlet, servers, version,
                                                                        state):
    """Responses above 2 MiB come in fragments, which split transactions."""
    etcd = servers.etcd(version)
    expected, last = [], 0
    for txn in range(5):
        names = [b"k%d-%d" % (txn, i) for i in range(7)]
        last = etcd.client.txn([("put", n, n * 40_000) for n in names])
        expected += [(last, n) for n in names]
    proxy = servers.proxy(etcd)
    for cut in (1_000_000, 2_600_000, 3_300_000):
        proxy.plans.append(Plan(cut_down=cut))
    agent = etchlet.watch(proxy, "--state", state, "--rev=2", "--prefix", "k")
    events = agent.wait_events(35, 40)
    assert [(e["mod_revision"], e["key"].encode()) for e in events] == expected
    assert all(value_of(e) == e["key"].encode() * 40_000 for e in events)
    agent.stop()
    assert etchlet.position(state) == last


@pytest.mark.parametrize("fragment_of_end", [True, False])
def test_cut_between_two_fragments_of_a_revision(etchlet, servers, state, fragment_of_end):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "k")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 1)
    fake.txn([("put", b"k%d" % i, b"v") for i in range(10)], send=False)
    watch.events(fake.history[:4], fragment=True)
    if fragment_of_end:
        watch.events(fake.history[4:9], fragment=True)
    fake.cut()
    events = agent.wait_events(10)
    assert [e["key"] for e in events] == ["k%d" % i for i in range(10)]
    assert fake.watches[1].start <= 2
    last = fake.put(b"kz", b"end")
    agent.wait_key("kz")
    assert len(agent.events()) == 11
    agent.stop()
    assert etchlet.position(state) == last


def test_kill_between_two_fragments_gives_the_revision_again(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--state-interval=100ms", "--prefix", "k")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 1)
    fake.put(b"k-before", b"v")
    fake.txn([("put", b"k%d" % i, b"v") for i in range(10)], send=False)
    watch.events(fake.history[1:5], fragment=True)
    agent.wait_events(1)
    etchlet.wait_position(state, 2)
    wait.holds_for(lambda: etchlet.position(state) == 2, 0.5, "the position stays below")
    agent.kill()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "k")
    assert [e["key"] for e in agent.wait_events(10)] == ["k%d" % i for i in range(10)]


def test_duplicates_from_the_server_are_dropped(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "k")
    watch = fake.wait_watches()
    events = [Event(PUT, KeyValue(b"k%d" % r, b"v", r, r, 1)) for r in range(2, 10)]
    watch.events(events[:5])
    watch.events(events[2:6])
    watch.events(events[5:])
    watch.events(events[:1])
    agent.wait_key("k9")
    watch.events([Event(PUT, KeyValue(b"k10", b"v", 10, 10, 1))])
    agent.wait_key("k10")
    assert revisions(agent) == list(range(2, 11))


# Servers that go away.


def test_restarted_server_is_followed_again(etchlet, servers, version):
    etcd = servers.etcd(version)
    agent = etchlet.watch(etcd, "--rev=2", "--prefix", "k")
    for end in (etcd.kill, etcd.terminate):
        last = etcd.client.put(b"k", b"before")
        agent.wait_event(lambda e, r=last: e["mod_revision"] == r)
        end()
        etcd.start()
        last = etcd.client.put(b"k", b"after")
        agent.wait_event(lambda e, r=last: e["mod_revision"] == r, 15)
    assert revisions(agent) == list(range(2, last + 1))


def test_server_that_is_not_there_yet_is_waited_for(etchlet, servers):
    etcd = servers.etcd("3.5")
    etcd.kill()
    agent = etchlet.watch(etcd, "--rev=2", "--prefix", "k")
    agent.wait_stderr("refused")
    etcd.start()
    etcd.client.put(b"k", b"1")
    agent.wait_events(1, 15)


def test_trouble_is_told_once_and_its_end_once(etchlet, servers):
    fake = servers.fake()
    fake.refuse()
    agent = etchlet.watch(fake, "k")
    agent.wait_stderr("refused")
    wait.holds_for(lambda: agent.stderr().lower().count(b"refused") <= 1, 3,
                   "one line for one reason")
    lines = agent.stderr().count(b"\n")
    fake.listen()
    fake.wait_watches()
    fake.put(b"k", b"v")
    agent.wait_events(1)
    wait.until(lambda: agent.stderr().count(b"\n") > lines, 5, "a line when it is over")
    assert agent.stderr().count(b"\n") <= lines + 3


def test_killed_member_of_a_cluster_is_left_for_another(etchlet, servers, version, state):
    cluster = servers.cluster(version)
    proxies = [servers.proxy(member) for member in cluster.members]
    agent = etchlet.watch(urls(proxies), "--state", state, "--rev=2", "--prefix", "k")
    first = cluster.members[0].client.put(b"k", b"1")
    agent.wait_events(1)
    used, other = member_in_use(cluster, proxies)
    used.kill()
    cluster.wait_leader_without(used)
    last = wait.until(lambda: written(other), 20, "the rest of the cluster writes")
    agent.wait_event(lambda e: e["mod_revision"] == last, 20)
    assert revisions(agent) == list(range(first, last + 1))


def member_in_use(cluster, proxies):
    """The member the agent talks to, and one it does not."""
    used = next(i for i, proxy in enumerate(proxies) if proxy.live)
    return cluster.members[used], cluster.members[(used + 1) % 3]


def written(member):
    """A revision, or None while there is no leader."""
    try:
        return member.client.put(b"k", b"2")
    except (GrpcError, OSError):
        return None


def test_frozen_member_is_left_for_another(etchlet, servers):
    """Its connections stay open and silent: the unanswered probe tells."""
    cluster = servers.cluster()
    proxies = [servers.proxy(member) for member in cluster.members]
    agent = etchlet.watch(urls(proxies), "--probe-interval=500ms", "--idle-after=60s",
                          "--command-timeout=1s", "--rev=2", "--prefix", "k")
    cluster.members[1].client.put(b"k", b"1")
    agent.wait_events(1)
    used, other = member_in_use(cluster, proxies)
    used.freeze()
    cluster.wait_leader_without(used)
    last = wait.until(lambda: written(other), 20, "the rest of the cluster writes")
    agent.wait_event(lambda e: e["mod_revision"] == last, 20)


# Endpoints.


def test_endpoints_are_tried_in_turn(etchlet, servers, etcd35, prefix):
    refused = servers.fake()
    refused.refuse()
    silent = servers.raw(lambda sock: time.sleep(60))
    closing = servers.raw(lambda sock: sock.close())
    first = etcd35.client.put(prefix.encode(), b"v")
    began = time.monotonic()
    agent = etchlet.watch(f"{refused.url},{silent.url},{closing.url},{etcd35.url}",
                          "--dial-timeout=500ms", "--command-timeout=500ms", f"--rev={first}", prefix)
    agent.wait_events(1, 5)
    assert time.monotonic() - began < 4
    assert len(silent.connections) <= 1 and len(closing.connections) <= 1


def test_unanswered_probe_moves_to_the_next_endpoint(etchlet, servers):
    fakes = servers.fake(), servers.fake()
    agent = etchlet.watch(urls(fakes), "--probe-interval=300ms", "--idle-after=60s",
                          "--command-timeout=500ms", "--rev=2", "k")
    one, two = in_use(fakes)
    one.on["Range"] = lambda call: True
    began = time.monotonic()
    two.wait_watches(1, 5)
    assert time.monotonic() - began < 3
    two.put(b"k", b"v")
    agent.wait_events(1)
    one.connections[0].wait_closed(1)


def test_watch_that_is_never_created_moves_to_the_next_endpoint(etchlet, servers):
    fakes = servers.fake(), servers.fake()
    asked = []
    for fake in fakes:
        fake.on_watch = lambda watch: asked.append(watch) or len(asked) == 1
    etchlet.watch(urls(fakes), "--command-timeout=500ms", "k")
    wait.until(lambda: len(asked) == 2, 5, "another endpoint is asked")
    assert asked[0].server is not asked[1].server


def test_settings_that_never_come_move_to_the_next_endpoint(etchlet, servers):
    silent = [servers.raw(lambda sock: time.sleep(60)) for _ in range(3)]
    fake = servers.fake()
    etchlet.watch(urls([*silent, fake]), "--command-timeout=300ms", "k")
    fake.wait_watches(1, 5)


def test_lost_leader_moves_to_the_next_endpoint(etchlet, servers):
    fakes = servers.fake(), servers.fake()
    asked = []

    def leaderless(call):
        asked.append(call.server)
        if len(asked) == 1:
            call.trailers_only(UNAVAILABLE, "etcdserver: no leader")
        return len(asked) == 1
    for fake in fakes:
        fake.on["Watch"] = leaderless
    agent = etchlet.watch(urls(fakes), "--rev=2", "k")
    wait.until(lambda: len(asked) == 2, 5, "another endpoint is asked")
    assert asked[0] is not asked[1]
    asked[1].put(b"k", b"v")
    agent.wait_events(1)


def test_ipv6_endpoint(etchlet, servers):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    etcd = servers.etcd("3.5", host="::1")
    assert etcd.url.startswith("http://[::1]:")
    agent = etchlet.watch(etcd, "--rev=2", "k")
    etcd.client.put(b"k", b"v")
    agent.wait_events(1)


def test_host_name_endpoint(etchlet, etcd35, prefix):
    first = etcd35.client.put(prefix.encode(), b"v")
    for endpoint in (f"localhost:{etcd35.port}", f"http://localhost:{etcd35.port}",
                     f"127.0.0.1:{etcd35.port}"):
        etchlet.watch(endpoint, f"--rev={first}", prefix).wait_events(1)


def test_name_that_does_not_resolve_is_told_and_retried(etchlet, etcd35, prefix):
    first = etcd35.client.put(prefix.encode(), b"v")
    agent = etchlet.watch(f"http://no-such-host.invalid:2379,{etcd35.url}", "--dial-timeout=1s",
                          f"--rev={first}", prefix)
    agent.wait_events(1)
    alone = etchlet.watch("http://no-such-host.invalid:2379", "--dial-timeout=1s", "k")
    alone.wait_stderr("no-such-host.invalid")
    alone.stop()


IN_A_NETWORK_WITH_A_SILENT_NAME_SERVER = """
import os, signal, socket, subprocess, sys, time
with open(sys.argv[1], "w") as f:
    f.write("nameserver 127.0.0.1\\noptions timeout:30 attempts:5\\n")
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/resolv.conf"], check=True)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.settimeout(10)
agent = subprocess.Popen(sys.argv[2:])
server.recv(512)
time.sleep(0.1)
begin = time.monotonic()
agent.send_signal(signal.SIGTERM)
status = agent.wait(20)
print(status, time.monotonic() - begin)
"""


def test_name_server_that_does_not_answer_does_not_delay_the_stop(etchlet, tmp_path):
    unshare = ["unshare", "--mount", "--net"]
    probe = subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE) if shutil.which("ip") else None
    if probe is None or probe.returncode:
        pytest.skip("needs root, unshare and ip for a network of its own")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", IN_A_NETWORK_WITH_A_SILENT_NAME_SERVER,
         str(tmp_path / "resolv.conf"), etchlet.binary, "watch", "--endpoints=http://slow.example:2379",
         "--dial-timeout=30s", "k"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=etchlet.env)
    assert done.returncode == 0, done.stderr
    status, took = done.stdout.split()
    assert status == b"0" and float(took) < 1.4


# Backoff.


def connections_in(seconds, count):
    """How many connections are made in that time."""
    before = count()
    time.sleep(seconds)
    return count() - before


def test_server_that_closes_at_once_is_not_hammered(etchlet, servers):
    closing = servers.raw(lambda sock: sock.close())
    agent = etchlet.watch(closing.url, "--backoff-min=200ms", "--backoff-max=30s", "k", quick=False)
    count = connections_in(4, lambda: len(closing.connections))
    assert 2 <= count <= 14, f"{count} connections in 4 s"
    assert agent.cpu_s() < 0.3


def test_stream_that_ends_at_once_counts_as_a_failure(etchlet, servers):
    """Created, then over, again and again: the delays must grow all the same."""
    fake = servers.fake()

    def end(watch):
        watch.created()
        watch.call.send_trailers(UNAVAILABLE, "etcdserver: leader changed")
        return True
    fake.on_watch = end
    etchlet.watch(fake, "--backoff-min=200ms", "--backoff-max=30s", "k", quick=False)
    count = connections_in(4, lambda: len(fake.watches))
    assert 2 <= count <= 14, f"{count} watches in 4 s"


def test_canceled_watch_is_not_created_in_a_tight_loop(etchlet, servers):
    fake = servers.fake()

    def cancel(watch):
        watch.created()
        watch.cancel("some odd reason")
        return True
    fake.on_watch = cancel
    agent = etchlet.watch(fake, "--backoff-min=200ms", "--backoff-max=30s", "k", quick=False)
    count = connections_in(4, lambda: len(fake.watches))
    assert 2 <= count <= 14, f"{count} watches in 4 s"
    agent.wait_stderr("some odd reason")
    fake.on_watch = None


def test_first_round_over_the_endpoints_is_quick(etchlet, servers, etcd35, prefix):
    """Dead endpoints before the living one cost at most backoff-min each."""
    dead = [servers.fake() for _ in range(5)]
    for fake in dead:
        fake.refuse()
    first = etcd35.client.put(prefix.encode(), b"v")
    began = time.monotonic()
    agent = etchlet.watch(",".join([f.url for f in dead] + [etcd35.url]), "--backoff-min=200ms",
                          "--backoff-max=30s", f"--rev={first}", prefix, quick=False)
    agent.wait_events(1, 5)
    assert time.monotonic() - began < 2.5


def test_event_starts_the_delays_over(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--backoff-min=50ms", "--backoff-max=20s", "--prefix", "k",
                          quick=False)
    began = time.monotonic()
    for i in range(10):
        watch = fake.wait_watches(i + 1, 5)
        wait.until(lambda w=watch: w.is_live, 5)
        fake.put(b"k%d" % i, b"v")
        agent.wait_key("k%d" % i)
        fake.cut()
    assert time.monotonic() - began < 8


def test_usr1_retries_now(etchlet, servers):
    fake = servers.fake()
    fake.refuse()
    agent = etchlet.watch(fake, "--backoff-min=20s", "--backoff-max=40s", "k", quick=False)
    agent.wait_stderr("refused")
    fake.listen()
    began = time.monotonic()
    # The delay has full jitter: a lucky one may be short, so the signal is what must be quick.
    agent.send_signal(signal.SIGUSR1)
    fake.wait_watches(1, 5)
    assert time.monotonic() - began < 2


def test_usr1_probes_now(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "k")
    wait.until(lambda: fake.watches and fake.watches[0].is_live, 5)
    before = len(fake.probes())
    agent.send_signal(signal.SIGUSR1)
    wait.until(lambda: len(fake.probes()) > before, 3, "a probe at once")


# Keepalive.


def test_silence_is_broken_by_a_ping(etchlet, servers):
    fake = servers.fake()
    etchlet.watch(fake, "--keepalive-time=400ms", "--keepalive-timeout=2s", "k")
    connection = fake.wait_connections()
    wait.until(lambda: len(connection.pings) >= 4, 10, "four PINGs")
    gaps = [b - a for a, b in zip(connection.pings, connection.pings[1:])]
    assert all(0.3 < gap < 1.0 for gap in gaps), gaps
    assert connection.closed is None


def test_short_keepalive_is_warned_about(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--keepalive-time=9s", "k")
    fake.wait_watches()
    agent.wait_stderr("keepalive")


def test_answered_probes_make_pings_needless(etchlet, servers):
    fake = servers.fake()
    etchlet.watch(fake, "--keepalive-time=1s", "--probe-interval=300ms", "--idle-after=60s", "k")
    connection = fake.wait_connections()
    wait.until(lambda: len(fake.probes()) >= 10, 10)
    assert connection.pings == []


def test_unanswered_ping_moves_to_the_next_endpoint(etchlet, servers):
    fakes = servers.fake(), servers.fake()
    etchlet.watch(urls(fakes), "--keepalive-time=300ms", "--keepalive-timeout=300ms", "k")
    one, two = in_use(fakes)
    one.answers_pings = False
    two.wait_watches(1, 5)


def test_too_many_pings_doubles_the_interval(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--keepalive-time=400ms", "--keepalive-timeout=2s", "k")
    first = fake.wait_connections()
    wait.until(lambda: len(first.pings) >= 2, 10)
    first.send_goaway(code=11, debug=b"too_many_pings")
    first.close()
    second = fake.wait_connections(2)
    wait.until(lambda: len(second.pings) >= 4, 15)
    gaps = [b - a for a, b in zip(second.pings, second.pings[1:])]
    assert all(gap > 0.7 for gap in gaps), gaps
    agent.wait_stderr("too_many_pings")


def test_real_server_tolerates_the_defaults(etchlet, etcd35, prefix):
    """No GOAWAY in a while of probes: etcd counts PINGs that come too often."""
    agent = etchlet.watch(etcd35, "--probe-interval=200ms", "--idle-after=60s",
                          f"--rev={etcd35.client.revision() + 1}", prefix)
    wait.holds_for(lambda: b"GOAWAY" not in agent.stderr().upper(), 3)
    etcd35.client.put(prefix.encode(), b"v")
    agent.wait_events(1)


def test_blackhole_is_noticed(etchlet, etcd35, prefix, servers):
    """NAT forgot the connection: nothing comes, nothing is refused."""
    proxies = [servers.proxy(etcd35) for _ in range(2)]
    first = etcd35.client.revision() + 1
    agent = etchlet.watch(urls(proxies), "--probe-interval=300ms", "--idle-after=60s",
                          "--command-timeout=500ms", f"--rev={first}", prefix)
    etcd35.client.put(prefix.encode(), b"1")
    agent.wait_events(1)
    next(p for p in proxies if p.live).hold()
    etcd35.client.put(prefix.encode(), b"2")
    assert_exactly_once(agent, first, first + 1, 10)


def test_slow_link_is_no_dead_link(etchlet, etcd35, prefix, servers):
    """A long value over a slow link must not be cut off by probes that queue behind it."""
    proxy = servers.proxy(etcd35)
    proxy.default.segment, proxy.default.delay_s = 8_000, 0.04
    first = etcd35.client.put(prefix.encode(), b"x" * 1_000_000)
    agent = etchlet.watch(proxy, "--probe-interval=1s", "--idle-after=60s", f"--rev={first}", prefix)
    agent.wait_events(1, 30)
    assert len(proxy.links) == 1


def test_environment_has_no_say(etchlet, etcd35, prefix):
    """Only the command line and the configuration count."""
    first = etcd35.client.put(prefix.encode(), b"v")
    agent = etchlet.watch(etcd35, f"--rev={first}", prefix,
                          env={"ETCDCTL_ENDPOINTS": "http://127.0.0.1:1", "ETCDCTL_API": "2"})
    agent.wait_events(1)
    assert os.environ.get("ETCDCTL_ENDPOINTS") is None

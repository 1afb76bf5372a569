# SPDX-License-Identifier: Apache-2.0
"""
`post` of `etchlet run`: what a service is sent, what its answers mean, and that no misbehaviour of it, of the network or
of its certificates loses an event or harms more than its own watch.
"""

import email.utils
import json
import os
import random
import re
import shutil
import signal
import time

import pytest

from harness import pki as pki_module, wait
from harness.agent import value_of
from harness.config import Watch
from harness.etcd import ROOMY

RSS_MAX_KB = 8192


@pytest.fixture
def receiver(servers):
    return servers.receiver()


@pytest.fixture
def authority(tmp_path):
    return pki_module.Authority(str(tmp_path / "pki"))


@pytest.fixture
def start(full_runner):
    """start(server, key, receiver, ...): a watch "w" that posts; options of the watch by name."""
    def begin(server, key, to, words=(), env=None, agent_options=None, **options):
        url = to if isinstance(to, str) else to.url("/events")
        return full_runner.start(server, Watch("w", key, post=url, **options), words=words, env=env,
                                 **(agent_options or {}))
    return begin


def keys_of(requests):
    return [k for r in requests for k in r.keys]


def check_memory(agent):
    # A sanitizer's own is counted too.
    assert agent.runner.etchlet.is_sanitized or agent.peak_kb() < RSS_MAX_KB, f"{agent.peak_kb()} KB"


def told(agent):
    return agent.stderr().decode()


def wait_error(agent, text, timeout_s=10.0):
    return agent.wait_watch("w", lambda w: text in (w["last_error"] or ""), timeout_s, f"the error {text!r}")


# What is sent.


def test_batches_and_headers(start, receiver, etcd, prefix):
    etcd.client.put(prefix + "a", b"1")
    agent = start(etcd, prefix, receiver)
    first, = receiver.wait(1)
    assert (first.method, first.target) == ("POST", "/events")
    assert first.headers["content-type"] == "application/x-ndjson"
    assert first.headers["etchlet-watch"] == "w"
    assert first.headers["etchlet-device"] == "device-1"
    assert first.headers["etchlet-reason"] == "first"
    assert first.headers["user-agent"].startswith("etchlet/")
    assert "expect" not in first.headers and "authorization" not in first.headers
    assert [e["type"] for e in first.lines] == ["sync", "put", "synced"]
    assert first.revision == first.lines[0]["revision"]
    assert re.fullmatch(r'"device-1/w/%d/first/[0-9a-f]{8}"' % first.revision, first.idempotency_key)
    revision = etcd.client.txn([("put", (prefix + "b").encode(), b"\xff"), ("delete", (prefix + "a").encode())])
    second = receiver.wait(2)[1]
    assert second.headers["etchlet-reason"] == "event"
    assert second.revision == revision
    assert [(e["type"], e["key"]) for e in second.lines] == [("put", prefix + "b"), ("delete", prefix + "a")]
    assert value_of(second.lines[0]) == b"\xff"
    # One connection for all of it.
    assert second.connection == first.connection
    agent.wait_position("w", revision)
    assert agent.watch("w")["sink_errors"] == 0


def test_empty_listing_is_posted_too(start, receiver, etcd35, prefix):
    start(etcd35, prefix, receiver)
    first, = receiver.wait(1)
    assert [e["type"] for e in first.lines] == ["sync", "synced"]


def test_order_and_nothing_twice(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({}, r5={"status": 503}, r9={"cut": "after"}, r12={"wait_s": 0.3})
    want = []
    for i in range(60):
        want.append(f"{prefix}{i:02d}")
        revision = etcd35.client.put(want[-1])
        time.sleep(0.005)
    agent.wait_position("w", revision, 20)
    seen, got = set(), []
    for request in receiver.whole[1:]:
        if request.idempotency_key not in seen:
            got += request.keys
        seen.add(request.idempotency_key)
    assert got == want


def test_unix_socket(start, full_runner, servers, etcd35, prefix):
    receiver = servers.receiver(unix_path=os.path.join(full_runner.short, "service"))
    agent = start(etcd35, prefix, receiver, env={"http_proxy": "http://127.0.0.1:1"})
    first, = receiver.wait(1)
    assert first.target == "/events"
    assert first.headers["host"] == "localhost"
    # It goes away, and another one comes.
    receiver.stop()
    revision = etcd35.client.put(prefix + "a")
    wait_error(agent, "nobody answers at this local socket")
    os.unlink(receiver.unix_path)
    wait_error(agent, "no such file")
    receiver.start()
    receiver.wait_key(prefix + "a")
    agent.wait_position("w", revision)


def test_unix_socket_without_request(start, full_runner, servers, etcd35, prefix):
    receiver = servers.receiver(unix_path=os.path.join(full_runner.short, "service"))
    start(etcd35, prefix, receiver.url())
    assert receiver.wait(1)[0].target == "/"


def test_token_is_read_for_each_try(start, receiver, etcd35, prefix, tmp_path):
    token = tmp_path / "token"
    receiver.plan({"status": 401})
    agent = start(etcd35, prefix, receiver, post_token_file=str(token))
    error = wait_error(agent, "token file")
    assert f"token file {token}: no such file" in error["last_error"]
    assert receiver.connections == 0
    token.write_text("one\n")
    assert receiver.wait(1)[0].headers["authorization"] == "Bearer one"
    wait_error(agent, "401 Unauthorized")
    token.write_text("two\nX-Injected: yes\n")
    wait_error(agent, "not visible ASCII")
    receiver.plan({})
    token.write_text("three  \r\n")
    last = wait.until(lambda: next((r for r in receiver.whole
                                    if r.headers["authorization"] == "Bearer three"), None), 10, "the new token")
    assert "x-injected" not in last.headers
    wait.until(lambda: "works again" in told(agent), 10, "the end of the trouble")
    assert "Bearer" not in told(agent) and "three" not in told(agent)


# What its answers mean.


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success(start, receiver, etcd35, prefix, status):
    receiver.plan({"status": status, "body": b"" if status == 204 else b"thanks"})
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    agent.wait_synced("w")
    revision = etcd35.client.put(prefix + "a")
    agent.wait_position("w", revision)
    assert len(receiver.whole) == 2


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_tried_again(start, receiver, etcd35, prefix, status):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({"status": status, "body": b"not\x1b[now\nmore"})
    before = agent.wait_synced("w")["watches"][0]["position"]
    revision = etcd35.client.put(prefix + "a")
    requests = receiver.wait(4)
    assert len({r.idempotency_key for r in requests[1:]}) == 1
    assert len({r.body for r in requests[1:]}) == 1
    error = wait_error(agent, f": {status}")
    assert "not\\x1B[now" in error["last_error"] and "more" not in error["last_error"]
    assert error["position"] == before and error["sink_errors"] >= 2
    receiver.plan({})
    agent.wait_position("w", revision)
    assert told(agent).count("tried again") == 1 and told(agent).count("works again") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 300, 304])
def test_held(start, receiver, etcd35, prefix, status):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({"status": status, "body": b"" if status == 304 else b"no such field\n"})
    revision = etcd35.client.put(prefix + "a")
    error = wait_error(agent, f"rejected with {status}")
    assert status == 304 or "no such field" in error["last_error"]
    etcd35.client.put(prefix + "b")
    # At the longest delay, and not less than half of it.
    begun = len(receiver.whole)
    requests = receiver.wait(begun + 3)[-3:]
    assert all(b.begun - a.begun > 0.18 for a, b in zip(requests, requests[1:]))
    assert agent.watch("w")["position"] < revision
    assert "it is held" in told(agent)
    # The service takes it after all.
    receiver.plan({})
    agent.wait_position("w", revision + 1)
    assert keys_of(receiver.whole)[-2:] == [prefix + "a", prefix + "b"]


def test_held_until_the_configuration_is_mended(start, full_runner, receiver, servers, etcd35, prefix):
    wrong = servers.receiver()
    wrong.plan({"status": 404})
    agent = start(etcd35, prefix, wrong)
    wait_error(agent, "404 Not Found")
    full_runner.configure(etcd35, Watch("w", prefix, post=receiver.url()))
    agent.send_signal(signal.SIGHUP)
    receiver.wait(1)
    agent.wait_synced("w")


def test_skipped(start, receiver, etcd35, prefix):
    receiver.plan({"status": 422, "body": b"what is this?"})
    agent = start(etcd35, prefix, receiver, post_on_reject="skip")
    revision = etcd35.client.put(prefix + "a")
    agent.wait_position("w", revision)
    for i in range(20):
        revision = etcd35.client.put(prefix + str(i))
        agent.wait_position("w", revision)
    watch = agent.watch("w")
    assert watch["sink_errors"] >= 20
    assert "rejected with 422 Unprocessable Entity: what is this?" in watch["last_error"]
    assert told(agent).count("is skipped") == 1, "each is logged"
    assert len({r.idempotency_key for r in receiver.whole}) == len(receiver.whole), "one was tried twice"
    # Not so what may be over soon.
    receiver.plan({"status": 503})
    revision = etcd35.client.put(prefix + "last")
    wait_error(agent, "503")
    assert agent.watch("w")["position"] < revision


def test_redirect_is_not_followed(start, receiver, servers, etcd35, prefix):
    elsewhere = servers.receiver()
    receiver.plan({"status": 307, "headers": {"Location": elsewhere.url("/there")}})
    agent = start(etcd35, prefix, receiver)
    error = wait_error(agent, "307")
    assert elsewhere.url("/there") in error["last_error"]
    assert elsewhere.connections == 0


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after(start, receiver, etcd35, prefix, as_date):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    at = time.time() + 3
    receiver.plan({}, r2={"status": 503,
                          "headers": {"Retry-After": email.utils.formatdate(at, usegmt=True) if as_date else "2"}})
    revision = etcd35.client.put(prefix + "a")
    receiver.wait(2)
    # Neither a signal nor a new connection makes it shorter.
    for _ in range(4):
        time.sleep(0.2)
        agent.send_signal(signal.SIGUSR1)
    third = receiver.wait(3)[2]
    if as_date:
        assert time.time() >= int(at) - 0.1
    else:
        assert third.begun - receiver.whole[1].ended >= 2.0
    agent.wait_position("w", revision)


def test_endless_answer(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({"endless": True}, r3={"endless": True, "status": 500})
    etcd35.client.put(prefix + "a")
    agent.wait_position("w", etcd35.client.put(prefix + "b"))
    connections = [r.connection for r in receiver.whole]
    assert len(set(connections[1:])) == len(connections[1:]), "the connection was kept"
    check_memory(agent)


def test_answer_that_drips(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver, post_timeout="1s")
    receiver.wait(1)
    receiver.plan({"endless": True, "pace_s": 0.05}, r3={"endless": True, "pace_s": 0.05, "status": 500})
    begun = time.monotonic()
    agent.wait_position("w", etcd35.client.put(prefix + "a"))
    took = time.monotonic() - begun
    assert 0.8 < took < 4, f"a second for the answer's body, not {took:.1f} s"
    agent.wait_position("w", etcd35.client.put(prefix + "b"))


def test_no_answer(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver, post_timeout="500ms")
    receiver.wait(1)
    receiver.plan({}, r2={"wait_s": 3})
    revision = etcd35.client.put(prefix + "a")
    wait_error(agent, "no answer for 500 ms")
    agent.wait_position("w", revision)
    assert receiver.whole[1].idempotency_key == receiver.whole[-1].idempotency_key


# Connections that break.


@pytest.mark.parametrize("rst", [False, True])
@pytest.mark.parametrize("cut", ["accept", "headers", "body", "after", "answer"])
def test_cut(start, receiver, etcd35, prefix, cut, rst):
    # Each try makes a connection of its own.
    receiver.plan({"close": True})
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    how = {"cut": cut, "rst": rst, "cut_at": 1 << 16}
    receiver.plan({}, **{f"r{i}": how for i in range(2, 5)})
    value = os.urandom(400000)
    revision = etcd35.client.put(prefix + "a", value)
    agent.wait_position("w", revision)
    last = receiver.whole[-1]
    assert last.keys == [prefix + "a"] and value_of(last.lines[0]) == value
    assert {r.idempotency_key for r in receiver.requests[1:] if "idempotency-key" in r.headers} == \
        {last.idempotency_key}
    assert agent.watch("w")["sink_errors"] >= 1
    assert "works again" in told(agent)


def test_cut_within_the_answers_body(start, receiver, etcd35, prefix):
    """The service has said that it took it."""
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({}, r2={"cut": "answer body", "body": b"tha"})
    agent.wait_position("w", etcd35.client.put(prefix + "a"))
    agent.wait_position("w", etcd35.client.put(prefix + "b"))
    assert keys_of(receiver.whole) == [prefix + "a", prefix + "b"]


def test_kept_connection_that_was_closed_meanwhile(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.plan({"close": True})
    for i in range(5):
        agent.wait_position("w", etcd35.client.put(f"{prefix}{i}"))
        time.sleep(0.05)
    assert keys_of(receiver.whole) == [f"{prefix}{i}" for i in range(5)]
    assert agent.watch("w")["sink_errors"] == 0


def test_answer_before_the_body_was_sent(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({}, r2={"early": True, "status": 413, "close": True, "read_s": 0.1})
    revision = etcd35.client.put(prefix + "a", os.urandom(1000000))
    wait_error(agent, "413 Content Too Large")
    agent.wait_position("w", revision)


def test_unreachable_at_the_start(start, servers, etcd35, prefix):
    port = wait.free_port()
    agent = start(etcd35, prefix, f"http://127.0.0.1:{port}/events")
    wait_error(agent, "refused")
    receiver = servers.receiver(port=port)
    receiver.wait(1)
    agent.wait_synced("w")
    assert "works again" in told(agent)


def test_name_that_is_not_known(start, etcd35, prefix):
    agent = start(etcd35, prefix, "http://no-such-host.invalid/events")
    error = wait_error(agent, "no-such-host.invalid")
    assert error["sink_errors"] >= 1


# Resume.


def test_kill_and_resume(start, full_runner, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    agent.wait_synced("w")
    want = []
    receiver.plan({"wait_s": 0.02})
    for turn in range(4):
        for i in range(10):
            want.append(f"{prefix}{turn}-{i}")
            etcd35.client.put(want[-1])
        receiver.wait(len(receiver.whole) + 1)
        agent.kill()
        agent = full_runner.start()
    receiver.wait_key(want[-1])
    # In order, and what came twice is what had come.
    seen = []
    for key in keys_of(receiver.whole):
        assert key in seen or len(seen) == len(want) or key == want[len(seen)], key
        if key not in seen:
            seen.append(key)
    assert seen == want


def test_same_batch_has_the_same_key_after_a_restart(start, full_runner, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    full_runner.wait_saved("w", agent.wait_synced("w")["watches"][0]["position"])
    receiver.plan({"status": 503})
    etcd35.client.put(prefix + "a")
    before = receiver.wait_key(prefix + "a")
    agent.kill()
    at = len(receiver.whole)
    receiver.plan({})
    full_runner.start()
    assert receiver.wait(at + 1)[-1].idempotency_key == before.idempotency_key


def test_nothing_is_repeated_after_a_clean_stop(start, full_runner, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    agent.wait_position("w", etcd35.client.put(prefix + "a"))
    agent.stop()
    full_runner.start()
    receiver.wait_key((etcd35.client.put(prefix + "b"), prefix + "b")[1])
    assert keys_of(receiver.whole).count(prefix + "a") == 1


def test_listing_supersedes_what_failed(start, receiver, servers, prefix):
    etcd = servers.etcd()
    agent = start(etcd, prefix, receiver)
    receiver.wait(1)
    agent.wait_synced("w")
    receiver.plan({"status": 503})
    etcd.client.put(prefix + "old", b"")
    receiver.wait_key(prefix + "old")
    etcd.client.delete((prefix + "old").encode())
    etcd.client.put(prefix + "new", b"")
    # The connection breaks, and what it would need to go on is gone when it comes back.
    etcd.kill()
    etcd.start()
    etcd.client.compact(etcd.client.put(prefix + "newer", b""))
    receiver.plan({})
    last = receiver.wait_key(prefix + "newer")
    assert last.headers["etchlet-reason"] in ("compacted", "event")


def test_once(full_runner, receiver, etcd35, prefix):
    """It ends when the service has taken what there was."""
    etcd35.client.put(prefix + "a", b"1")
    receiver.plan({}, r1={"status": 503}, r2={"cut": "after"})
    full_runner.configure(etcd35, Watch("w", prefix, post=receiver.url()))
    done = full_runner.once()
    assert done.returncode == 0, done.stderr
    assert receiver.whole[-1].keys == [prefix + "a"] and len(receiver.whole) == 3
    assert full_runner.once().returncode == 0
    assert len(receiver.whole) == 3


def test_many_watches_at_once(full_runner, receiver, etcd35, prefix, tmp_path):
    """As many as a file may have, each with all that takes a descriptor."""
    receiver.plan({"gate": "gate"})
    agent = full_runner.start(etcd35, *(Watch(f"w{i}", f"{prefix}{i}/", post=receiver.url(), print=str(tmp_path / f"p{i}"),
                                               exec=["/bin/sh", "-c", "sleep 1"]) for i in range(16)))
    receiver.wait(16)
    receiver.open_gate()
    agent.wait_synced(timeout_s=20)
    receiver.plan({})
    for i in range(16):
        last = etcd35.client.put(f"{prefix}{i}/a")
    for i in range(16):
        receiver.wait_key(f"{prefix}{i}/a")
    check_memory(agent)
    assert last


def test_random_faults(start, full_runner, receiver, etcd35, prefix):
    """Whatever the service, the network and the power do: each event arrives, in order."""
    faults = [{"status": 503}, {"status": 429, "headers": {"Retry-After": "0"}}, {"status": 400}, {"cut": "accept"},
              {"cut": "headers"}, {"cut": "body"}, {"cut": "after"}, {"cut": "answer"}, {"cut": "answer", "rst": True},
              {"cut": "answer body"}, {"wait_s": 0.7}, {"close": True}, {"endless": True}, {"early": True}]
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    receiver.plan({}, **{f"r{i}": dice.choice(faults) for i in range(2, 600) if dice.random() < 0.4})
    agent = start(etcd35, prefix, receiver, post_timeout="500ms", agent_options={"backoff_max": "100ms"})
    want = []
    for i in range(150):
        want.append(f"{prefix}{i:03d}")
        etcd35.client.put(want[-1], os.urandom(dice.choice((1, 100, 20000))))
        time.sleep(dice.random() * 0.06)
        if dice.random() < 0.03:
            agent.kill()
            agent = full_runner.start()
    receiver.plan({})
    receiver.wait_key(want[-1], 20)
    # All that was sent as a whole, each batch once: a prefix of what there is may come again, and nothing is left out.
    got = []
    for request in receiver.whole:
        for event in request.lines:
            if event["type"] == "put" and event["key"] not in got:
                got.append(event["key"])
    assert got == want, f"seed {seed}"


# Stop.


def test_stop_within_a_second_during_a_request(start, full_runner, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({"gate": "never"})
    etcd35.client.put(prefix + "a")
    receiver.wait_begun(2)
    receiver.wait(2)
    begun = time.monotonic()
    agent.stop(within_s=1.0)
    assert time.monotonic() - begun > 0.5, "it was given no time to be answered"
    assert "comes again after the next start" in told(agent)
    receiver.plan({})
    full_runner.start()
    assert receiver.wait(3)[2].keys == [prefix + "a"]


def test_stop_lets_the_answer_come(start, full_runner, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver)
    receiver.wait(1)
    receiver.plan({"wait_s": 0.4})
    revision = etcd35.client.put(prefix + "a")
    receiver.wait(2)
    agent.stop(within_s=1.0)
    assert full_runner.positions()["w"] == revision
    assert "comes again" not in told(agent)


# Size and pace.


def test_large_listing_in_flat_memory(start, receiver, servers, prefix):
    etcd = servers.etcd(flags=ROOMY)
    etcd.client.put_many([(f"{prefix}{i:05d}".encode(), b"v" * 40) for i in range(20000)])
    etcd.client.put(prefix + "big", os.urandom(5 << 20))
    receiver.plan({"read_s": 0.001})
    agent = start(etcd, prefix, receiver)
    first, = receiver.wait(1, 60)
    assert first.keys == [f"{prefix}{i:05d}" for i in range(20000)] + [prefix + "big"]
    assert len(value_of(first.lines[-2])) == 5 << 20
    agent.wait_synced("w")
    check_memory(agent)


def test_slow_service_beside_other_sinks(start, receiver, etcd35, prefix, tmp_path):
    """It gets all of it, in order, when it can; mirror and print go on meanwhile."""
    folder, out = tmp_path / "mirror", tmp_path / "out"
    agent = start(etcd35, prefix, receiver, mirror=str(folder), print=str(out))
    receiver.wait(1)
    receiver.plan({}, r2={"gate": "gate"})
    last = None
    for i in range(50):
        last = f"{i:02d}"
        revision = etcd35.client.put(prefix + last, b"v%d" % i)
        time.sleep(0.005)
    wait.until(lambda: (folder / last).exists(), 10, "the mirror goes on")
    wait.until(lambda: out.exists() and f'"{prefix}{last}"' in out.read_text(), 10, "print goes on")
    assert len(receiver.whole) == 2
    # The mirror has a file; the service is sent the value.
    receiver.open_gate()
    agent.wait_position("w", revision)
    assert keys_of(receiver.whole) == [f"{prefix}{i:02d}" for i in range(50)]
    assert all("path" not in e for r in receiver.whole for e in r.lines)
    assert value_of(receiver.whole[-1].lines[-1]) == b"v49"


def test_service_that_does_not_read(start, receiver, etcd35, prefix):
    agent = start(etcd35, prefix, receiver, post_timeout="1s")
    receiver.wait(1)
    receiver.plan({}, r2={"read_s": 4})
    revision = etcd35.client.put(prefix + "a", os.urandom(1400000))
    agent.wait_position("w", etcd35.client.put(prefix + "b", os.urandom(1400000)), 20)
    check_memory(agent)
    assert keys_of(receiver.whole)[-2:] == [prefix + "a", prefix + "b"] and revision


def test_settle(start, receiver, etcd35, prefix):
    start(etcd35, prefix, receiver, settle="500ms")
    receiver.wait(1)
    for i in range(5):
        etcd35.client.put(f"{prefix}{i}")
        time.sleep(0.02)
    second = receiver.wait(2)[1]
    assert second.keys == [f"{prefix}{i}" for i in range(5)]


# TLS.


def tls_receiver(servers, authority, san="IP:127.0.0.1", days=(-1, 30), client_ca=None):
    issued = authority.issue("server", san=san, days=days)
    return servers.receiver(tls=pki_module.server_context(issued, alpn=("http/1.1",), client_ca=client_ca)), issued


def test_https(start, servers, authority, etcd35, prefix):
    receiver, _ = tls_receiver(servers, authority)
    agent = start(etcd35, prefix, receiver, http_cacert=authority.cert)
    receiver.wait(1)
    revision = etcd35.client.put(prefix + "a", os.urandom(300000))
    agent.wait_position("w", revision)
    assert receiver.connections == 1
    check_memory(agent)


@pytest.mark.parametrize("fault", ["name", "authority", "expired"])
def test_https_refused(start, servers, authority, etcd35, prefix, tmp_path, fault):
    receiver, _ = tls_receiver(servers, authority, san="DNS:other" if fault == "name" else "IP:127.0.0.1",
                               days=(-20, -10) if fault == "expired" else (-1, 30))
    other = pki_module.Authority(str(tmp_path / "other-pki"))
    agent = start(etcd35, prefix, receiver, http_cacert=(other if fault == "authority" else authority).cert)
    error = wait_error(agent, "certificate")
    assert receiver.url("/events") in error["last_error"]
    assert not receiver.requests, "it was asked all the same"


def test_nginx_with_client_certificate_and_token(start, servers, authority, etcd35, prefix, tmp_path):
    server = authority.issue("server", san="IP:127.0.0.1")
    client = authority.issue("device-1", client=True)
    nginx = servers.nginx(tmp_path / "nginx", tls=server, client_ca=authority.cert, body_max=100000)
    (tmp_path / "token").write_text("secret\n")
    agent = start(etcd35, prefix, nginx.url("post/x", tls=True), http_cacert=authority.cert, http_cert=client["cert"],
                  http_key=client["key"], post_token_file=str(tmp_path / "token"))
    agent.wait_synced("w")
    first = nginx.wait_requests(1)[0]
    assert (first["status"], first["method"]) == (204, "POST")
    assert first["client"] == "CN=device-1" and first["authorization"] == "Bearer secret"
    nginx.fail(503)
    revision = etcd35.client.put(prefix + "a")
    wait_error(agent, "503 Service Unavailable")
    nginx.fail(None)
    agent.wait_position("w", revision)
    # More than it takes.
    revision = etcd35.client.put(prefix + "b", os.urandom(200000))
    wait_error(agent, "413 Content Too Large")
    nginx.kill()
    wait_error(agent, "refused")
    nginx.body_max = 1 << 20
    nginx.start()
    agent.wait_position("w", revision)


def test_certificates_are_read_again(start, servers, authority, etcd35, prefix, tmp_path):
    ca = str(tmp_path / "ca.pem")
    other = pki_module.Authority(str(tmp_path / "other-pki"))
    shutil.copy(other.cert, ca)
    receiver, _ = tls_receiver(servers, authority)
    agent = start(etcd35, prefix, receiver, http_cacert=ca)
    wait_error(agent, "certificate")
    with open(ca, "w") as f:
        f.write("nothing")
    agent.send_signal(signal.SIGHUP)
    agent.wait_stderr(r"watch w: post: %s: no certificate.*; the certificates at hand stay" % re.escape(ca))
    shutil.copy(authority.cert, ca)
    agent.send_signal(signal.SIGHUP)
    receiver.wait(1)
    agent.wait_synced("w")
    # The watch was not disturbed.
    assert agent.watch("w")["syncs"] == 1 and agent.status()["reconnects"] == 0


def test_proxy(start, servers, receiver, etcd35, prefix):
    proxy = servers.tinyproxy()
    agent = start(etcd35, prefix, receiver.url("/events"), env={"http_proxy": f"http://127.0.0.1:{proxy.port}"})
    first, = receiver.wait(1)
    assert "via" in first.headers
    agent.wait_position("w", etcd35.client.put(prefix + "a", os.urandom(100000)))
    # The proxy's answer for a service that is away is no rejection.
    receiver.stop()
    etcd35.client.put(prefix + "b")
    wait_error(agent, ": 50")
    receiver.start()
    receiver.wait_key(prefix + "b")


def test_other_authority_of_the_agent(start, full_runner, servers, authority, etcd35, prefix, tmp_path):
    """Without http-cacert it is cacert that counts, for new connections at once when it changes."""
    other = pki_module.Authority(str(tmp_path / "other-pki"))
    receiver, _ = tls_receiver(servers, authority)
    agent = start(etcd35, prefix, receiver, agent_options={"cacert": other.cert})
    wait_error(agent, "certificate")
    full_runner.configure(etcd35, *full_runner.watches, cacert=authority.cert)
    agent.send_signal(signal.SIGHUP)
    receiver.wait(1)
    agent.wait_synced("w")


# Configuration.


def refused(runner, etcd, **options):
    runner.configure(etcd, Watch("w", "/x", **options))
    return runner.etchlet.run("run", "--config", runner.config)


@pytest.mark.parametrize("url", ["ftp://h/x", "h/x", "http://", "unix:", "http://h:99999/"])
def test_bad_url(full_runner, etcd35, url):
    done = refused(full_runner, etcd35, post=url)
    assert done.returncode == 2
    assert re.search(rb"etchlet\.conf:\d+: post: ", done.stderr), done.stderr


def test_bad_certificates(full_runner, etcd35, authority, tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    client = authority.issue("device-1", client=True)
    other = authority.issue("device-2", client=True)
    for options, word in (({"http_cacert": str(bad)}, b"http-cacert: .*bad.pem"),
                          ({"http_cacert": str(tmp_path / "none.pem")}, b"http-cacert: .*none.pem"),
                          ({"http_cacert": authority.cert, "http_cert": str(bad), "http_key": client["key"]},
                           b"http-cert: .*bad.pem"),
                          ({"http_cacert": authority.cert, "http_cert": client["cert"], "http_key": other["key"]},
                           b"http-(cert|key): ")):
        done = refused(full_runner, etcd35, post="https://127.0.0.1/", **options)
        assert done.returncode == 2
        assert re.search(rb"etchlet\.conf:\d+: " + word, done.stderr), done.stderr


def test_password_of_the_url_is_not_told(start, full_runner, receiver, etcd35, prefix):
    receiver.plan({"status": 400})
    url = receiver.url("/events?token=secret").replace("://", "://user:secret@")
    agent = start(etcd35, prefix, url)
    error = wait_error(agent, "400 Bad Request")
    assert "/events?..." in error["last_error"]
    # Nor where an answer leads to.
    receiver.plan({"status": 307, "headers": {"Location": url}})
    agent.send_signal(signal.SIGUSR1)
    error = wait_error(agent, "redirect (307)")
    assert receiver.requests[-1].target == "/events?token=secret"
    assert "secret" not in json.dumps(error) and "secret" not in told(agent)
    done = refused(full_runner, etcd35, post="https://user:secret@h:99999/")
    assert b"secret" not in done.stderr


def test_check(full_runner, servers, receiver, authority, etcd35, tmp_path):
    def check(**options):
        full_runner.configure(etcd35, Watch("w", "/x", **options))
        done = full_runner.etchlet.run("check", "--json", "--config", full_runner.config)
        found = json.loads(done.stdout)
        return done.returncode, [f for f in found["findings"] if f["about"] == "watch w"]
    token = tmp_path / "token"
    assert check(post=receiver.url())[0] == 0
    assert not receiver.requests, "it was sent a request"
    status, findings = check(post=receiver.url(), post_token_file=str(token))
    assert status == 1 and str(token) in findings[0]["what"], findings
    token.write_text("x y")
    assert check(post=receiver.url(), post_token_file=str(token))[0] == 1
    token.write_text("xy")
    status, findings = check(post=receiver.url(), post_token_file=str(token))
    assert status == 0 and any(f["level"] == "warning" and "clear text" in f["what"] for f in findings), findings
    assert check(post="ftp://x")[0] == 2
    status, findings = check(post="https://127.0.0.1/", http_cacert=str(tmp_path / "none.pem"))
    assert status == 2 and "none.pem" in findings[0]["what"]

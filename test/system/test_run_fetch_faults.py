# SPDX-License-Identifier: Apache-2.0
"""
`fetch = DIR` when things go wrong: connections that are cut, agents that are killed, servers that lie, disks that are full,
folders that somebody else has touched. Whatever happens, DIR holds verified files only, and in the end what the keys say.
"""

import os
import random
import signal
import subprocess
import threading
import time

import pytest

from harness import artifact, wait
from harness.artifact import content, files, wait_files
from harness.fetching import folder, hook, put, start  # noqa: F401 (fixtures)
from harness.folders import disks, outside  # noqa: F401 (fixtures)
from harness.hostile_http import Plan
from harness.proxy import Plan as Cut

SEEDS = [int(s) for s in os.environ.get("ETCHLET_SEEDS", "1,2,3").split(",")]
DATA = content(7, 300000)


def bytes_of(agent, name):
    found = (agent.watch("w") or {}).get("fetch", [])
    return next((a["bytes"] for a in found if a["name"] == name), None)


def wait_bytes(agent, name, at_least, timeout_s=10.0):
    wait.until(lambda: (bytes_of(agent, name) or 0) >= at_least, timeout_s, f"{at_least} bytes of {name}")


# It goes on where it was.


@pytest.mark.parametrize("at", [0, 1, 100, 16384, 65536, 299999])
def test_resume_after_a_cut(start, servers, put, folder, at):
    server = servers.http(Plan(DATA))
    server.plans = [Plan(DATA, cut_at=at)]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    again = server.requests[1]
    if at:
        assert again.range_first == at and again.headers["if-range"] == '"1"'
    assert sum(r.sent for r in server.requests) == len(DATA)


@pytest.mark.parametrize("rst", [False, True], ids=["FIN", "RST"])
def test_cut_again_and_again(start, nginx, servers, put, folder, rst):
    """By a faulty network in front of nginx, at offsets of chance."""
    proxy = servers.proxy(nginx)
    cuts = random.Random(3)
    proxy.plans.extend(Cut(cut_down=cuts.randrange(1, 90000), rst=rst) for _ in range(12))
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(f"{proxy.url}/a", DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=20)
    asked = nginx.wait_requests(2, "a")
    assert any(r["status"] == 206 and r["if_range"] for r in asked)
    assert not any(r["status"] == 200 for r in asked[1:] if r["range"])
    firsts = [int(r["range"][6:-1]) for r in asked if r["range"]]
    assert firsts == sorted(firsts), "it never goes back"


def test_a_server_that_goes_away_and_comes_back(start, nginx, put, folder):
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("slow/a"), DATA, name="a"))
    wait_bytes(agent, "a", 50000)
    nginx.kill()
    agent.wait_watch("w", lambda w: w["last_error"])
    nginx.start()
    wait_files(folder, {"a": DATA}, agent=agent)
    assert any(r["status"] == 206 for r in nginx.requests())


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_resume_after_a_restart(start, servers, put, folder, how):
    server = servers.http(Plan(DATA, stall_at=150000))
    agent = start(agent_options={"durability": "relaxed"})
    revision = put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_bytes(agent, "a", 150000)
    agent.kill() if how == "kill" else agent.stop()
    assert files(folder) == {}
    server.default = Plan(DATA)
    agent = start(agent_options={"durability": "relaxed"})
    wait_files(folder, {"a": DATA}, agent=agent)
    again = server.requests[1]
    assert again.range_first is not None and again.range_first >= 100000, again
    assert again.headers["if-range"] == '"1"'
    agent.wait_position("w", revision)


def test_killed_again_and_again(start, nginx, put, folder):
    """Each life gets a little further."""
    nginx.put("a", DATA)
    put("a", artifact.value(nginx.url("slow/a"), DATA, name="a"))
    lives = 0
    while files(folder) != {"a": DATA}:
        lives += 1
        assert lives < 40
        agent = start()
        time.sleep(0.45)
        assert files(folder) in ({}, {"a": DATA})
        agent.kill()
    assert lives > 2
    firsts = [int(r["range"][6:-1]) for r in nginx.requests("slow/a") if r["range"]]
    assert firsts and firsts == sorted(firsts)


def test_killed_when_a_new_one_takes_the_place_of_an_old_one(start, servers, put, folder):
    old, new = content(1, 1000), content(2, 200000)
    server = servers.http()
    server.paths = {"/old": Plan(old), "/new": Plan(new, stall_at=100000)}
    agent = start()
    put("a", artifact.value(server.url("old"), old, name="a"))
    wait_files(folder, {"a": old}, agent=agent)
    put("a", artifact.value(server.url("new"), new, name="a"))
    wait_bytes(agent, "a", 100000)
    agent.kill()
    assert files(folder) == {"a": old}
    server.paths["/new"] = Plan(new)
    agent = start()
    wait_files(folder, {"a": new}, agent=agent)


# What lies on the server has changed, or it does not keep to the rules.


@pytest.mark.parametrize("validator", ["etag", "last_modified"])
def test_changed_content_begins_again(start, servers, put, folder, validator):
    """If-Range: what had been there is not mixed with what is there now."""
    other = content(8, len(DATA))
    tags = {"etag": ('"1"', '"2"'), "last_modified": ("Sun, 13 Sep 2020 12:26:40 GMT", "Mon, 14 Sep 2020 12:26:40 GMT")}
    first, second = ({"etag": None, **{validator: tag}} for tag in tags[validator])
    server = servers.http(Plan(DATA, **second))
    server.plans = [Plan(other, cut_at=100000, **first)]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    assert server.requests[1].headers["if-range"] == first[validator]
    assert server.requests[1].sent == len(DATA)


def test_no_validator_begins_again(start, servers, put, folder):
    server = servers.http(Plan(DATA, etag=None))
    server.plans = [Plan(DATA, etag=None, cut_at=100000)]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)


def test_a_weak_tag_is_no_validator(start, servers, put, folder):
    """RFC 9110 13.1.5: a weak tag must not be sent with If-Range."""
    server = servers.http(Plan(DATA, etag='W/"1"'))
    server.plans = [Plan(DATA, etag='W/"1"', cut_at=100000)]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    assert not any("W/" in r.headers.get("if-range", "") for r in server.requests)


def test_same_tag_other_content_is_found_out_by_the_digest(start, servers, put, folder):
    other = content(8, len(DATA))
    server = servers.http(Plan(DATA))
    server.plans = [Plan(other, cut_at=100000)]
    agent = start()
    revision = put("a", artifact.value(server.url("a"), DATA, name="a"))
    agent.wait_position("w", revision)
    assert files(folder) in ({}, {"a": DATA})


@pytest.mark.parametrize("how", ["ignore", "wrong", "missing", "refuse", "total"])
def test_servers_that_do_ranges_wrongly(start, servers, put, folder, how):
    server = servers.http(Plan(DATA, range=how))
    server.plans = [Plan(DATA, cut_at=100000)]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=20)
    assert len(server.requests) < 10


def test_nginx_without_range(start, nginx, servers, put, folder):
    proxy = servers.proxy(nginx)
    proxy.plans.append(Cut(cut_down=100000))
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(f"{proxy.url}/plain/a", DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)


@pytest.mark.parametrize("length", ["chunked", None], ids=["chunked", "until it ends"])
def test_bodies_without_a_length(start, servers, put, folder, length):
    server = servers.http(Plan(DATA, length=length))
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    put("b", artifact.value(server.url("b"), DATA, name="b", size=None))
    wait_files(folder, {"a": DATA, "b": DATA}, agent=agent)


def test_compressed_bodies_are_not_asked_for_nor_taken(start, servers, put, folder):
    server = servers.http(Plan(b"\x1f\x8b" + DATA, headers={"Content-Encoding": "gzip"}))
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"])
    assert files(folder) == {}
    assert server.requests[0].headers.get("accept-encoding", "identity") == "identity"


# What is wrong is quarantined.


def assert_quiet(server, seconds=1.0):
    """Nothing is asked for any more."""
    count = len(server.requests)
    wait.holds_for(lambda: len(server.requests) == count, seconds, "nothing is asked for")


def test_wrong_digest_is_not_fetched_again_until_the_value_changes(start, servers, put, folder, full_runner):
    bad = content(9, len(DATA))
    server = servers.http(Plan(bad))
    agent = start()
    value = artifact.value(server.url("a"), DATA, name="a")
    revision = put("a", value)
    watch = agent.wait_position("w", revision)
    assert files(folder) == {} and watch["sink_errors"] == 1
    assert len(server.requests) == 1
    assert_quiet(server)
    # Nor by SIGUSR1, by the same value once more, after a restart, or without its positions.
    agent.send_signal(signal.SIGUSR1)
    agent.wait_position("w", put("a", value))
    assert_quiet(server, 0.5)
    agent.kill()
    agent = start()
    agent.wait_synced("w")
    assert_quiet(server, 0.5)
    agent.stop()
    os.unlink(full_runner.state)
    agent = start()
    agent.wait_synced("w")
    assert_quiet(server, 0.5)
    assert len(server.requests) == 1 and files(folder) == {}
    found, = agent.watch("w")["fetch"]
    assert found["error"]
    assert artifact.leftovers(folder) < 8192, "the bad bytes take no room"
    # The same URL and name with the digest of what is there.
    agent.wait_position("w", put("a", artifact.value(server.url("a"), bad, name="a")))
    wait_files(folder, {"a": bad}, agent=agent)


def test_wrong_digest_keeps_the_last_good_one(start, servers, put, folder):
    server = servers.http(Plan(DATA))
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    revision = put("a", artifact.value(server.url("a?2"), DATA, name="a", sha256="ab" * 32))
    agent.wait_position("w", revision)
    assert files(folder) == {"a": DATA}


@pytest.mark.parametrize("size", [1, 299999, 300001, 10 ** 12])
@pytest.mark.parametrize("length", ["right", "chunked"])
def test_wrong_size(start, servers, put, folder, size, length):
    """What a server has may be another thing for a while: a page of a captive portal, or the file of yesterday."""
    server = servers.http(Plan(DATA, length=length))
    agent = start(fetch_max_size="1048576M")
    revision = put("a", artifact.value(server.url("a"), DATA, name="a", size=size))
    agent.wait_watch("w", lambda w: w["last_error"])
    time.sleep(0.5)
    # The digest decides where nothing but the end of the body tells its length.
    assert files(folder) in ({}, {"a": DATA}) if size == 300001 and length == "chunked" else files(folder) == {}
    assert len(server.requests) < 10 and artifact.leftovers(folder) < len(DATA) + 8192
    if not files(folder):
        assert (agent.watch("w")["position"] or 0) < revision
    revision = put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.wait_position("w", revision)


def test_endless_body(start, servers, put, folder):
    server = servers.http(Plan(b"", endless=True))
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"] and "more than is wanted" in w["last_error"])
    put("b", artifact.value(server.url("b"), DATA, name="b", size=None))
    assert files(folder) == {}
    assert all(r.sent < 8 << 20 for r in server.of("a"))
    # Without a size it flows up to the limit; the value changes, and it ends at once.
    wait.until(lambda: server.of("b") and server.of("b")[0].sent > 1 << 20, 10, "it flows")
    put("a", b"{}")
    agent.wait_position("w", put("b", b"{}"))
    wait.until(lambda: all(r.ended for r in server.requests), 5, "it is not read any more")
    assert artifact.leftovers(folder) < 16384


def test_endless_body_ends_at_the_limit(start, servers, put, folder):
    server = servers.http(Plan(b"", endless=True))
    agent = start(fetch_max_size="1M")
    put("b", artifact.value(server.url("b"), DATA, name="b", size=None))
    agent.wait_watch("w", lambda w: w["last_error"] and "fetch-max-size" in w["last_error"])
    assert files(folder) == {} and all(r.sent < 8 << 20 for r in server.requests)
    assert artifact.leftovers(folder) < 16384


def test_slow_body(start, servers, put, folder):
    """A byte now and then is no progress: the server is left, and asked for the rest later."""
    server = servers.http(Plan(DATA))
    server.plans = [Plan(DATA, piece=1, delay_s=0.1)]
    agent = start(fetch_timeout="1s")
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    first, second = server.requests[:2]
    assert 0.8 < second.at - first.at < 5
    assert second.range_first


def test_silent_servers(start, servers, put, folder):
    server = servers.http(Plan(DATA))
    server.plans = [Plan(DATA, head_delay_s=30), Plan(DATA, stall_at=1000)]
    agent = start(fetch_timeout="700ms")
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    assert len(server.requests) == 3 and server.requests[2].range_first == 1000


GARBAGE = [b"", b"\r\n\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 99 X\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\nbody",
           b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100000,
           b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2000000, b"HTTP/1.1 302 F\r\nLocation: \r\n\r\n",
           b"HTTP/1.1 302 F\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, bytes(range(256)) * 100,
           b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\nxx", b"HTTP/1.1 204 No\r\n\r\n",
           b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456"]


def test_garbage(start, servers, put, folder):
    """Whatever a server says, it is told, and other downloads are not touched."""
    server = servers.http()
    server.paths = {f"/g{i}": Plan(raw=raw) for i, raw in enumerate(GARBAGE)}
    server.default = Plan(DATA)
    agent = start()
    for i in range(len(GARBAGE)):
        put(f"g{i}", artifact.value(server.url(f"g{i}"), DATA, name=f"g{i}"))
    put("good", artifact.value(server.url("good"), DATA, name="good"))
    wait_files(folder, {"good": DATA}, agent=agent, timeout_s=20)
    wait.until(lambda: len({r.target for r in server.requests}) == len(GARBAGE) + 1, 20, "all were asked for")
    # Then they come to their senses.
    server.paths = {}
    deadline = time.monotonic() + 30
    wanted = {"good": DATA, **{f"g{i}": DATA for i in range(len(GARBAGE))}}
    while time.monotonic() < deadline and files(folder) != wanted:
        agent.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
    missing = sorted(set(wanted) - set(files(folder)))
    # A wrong body of the right length of time is refused for good: those that sent a whole answer.
    assert all(n in ("g14", "g17", "g15", "g16") for n in missing), missing


# Statuses.


def test_what_is_missing_and_then_appears(start, nginx, put, folder):
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"] and "404" in w["last_error"])
    nginx.put("a", DATA)
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=20)


def test_sigusr1_asks_again_at_once(start, nginx, put, folder):
    agent = start(agent_options={"backoff_min": "20s", "backoff_max": "30s"})
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"] and "404" in w["last_error"])
    nginx.put("a", DATA)
    agent.send_signal(signal.SIGUSR1)
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=5)


@pytest.mark.parametrize("status", [403, 408, 410, 429, 500, 502, 503])
def test_trouble_of_the_server_passes(start, servers, nginx, put, folder, status):
    nginx.put("a", DATA)
    nginx.fail(status)
    hostile = servers.http(Plan(DATA))
    hostile.plans = [Plan(b"", 408)] * 2
    server = hostile if status == 408 else nginx  # nginx closes the connection without a word for that
    agent = start()
    agent.wait_synced("w")
    revision = put("a", artifact.value(server.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"] and str(status) in w["last_error"])
    if server is nginx:
        assert agent.watch("w")["position"] < revision and files(folder) == {}
    nginx.fail(None)
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.wait_position("w", revision)


def test_retry_after_is_obeyed(start, servers, put, folder):
    server = servers.http(Plan(DATA))
    server.plans = [Plan(b"", 503, headers={"Retry-After": "2"}), Plan(b"", 429, headers={"Retry-After": "1"})]
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    one, two, three = server.requests
    assert 1.9 < two.at - one.at < 4 and 0.9 < three.at - two.at < 3


def test_a_failing_one_holds_up_no_other(start, nginx, put, folder):
    nginx.put("a", DATA)
    agent = start()
    for i in range(6):
        put(f"none{i}", artifact.value(nginx.url(f"none{i}"), DATA, name=f"none{i}"))
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)


# Disks and folders.


def test_full_disk_then_room(start, servers, put, folder, disks, nginx):  # noqa: F811
    disk = disks(folder, "1m")
    disk.fill()
    nginx.put("a", DATA)
    agent = start()
    revision = put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"])
    assert agent.is_running and "a" not in os.listdir(folder)
    disk.free()
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=20)
    agent.wait_position("w", revision)


def test_disk_that_fills_up_meanwhile(start, nginx, put, folder, disks):  # noqa: F811
    disk = disks(folder, "1m")
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("slow/a"), DATA, name="a", size=None))
    wait_bytes(agent, "a", 20000)
    disk.fill()
    agent.wait_watch("w", lambda w: w["last_error"])
    assert agent.is_running
    disk.free()
    wait_files(folder, {"a": DATA}, agent=agent, timeout_s=20)


def test_no_room_is_seen_before_the_body_is_read(start, nginx, put, folder, disks):  # noqa: F811
    disks(folder, "1m")
    data = bytes(4 << 20)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    watch = agent.wait_watch("w", lambda w: w["last_error"])
    assert "space" in watch["last_error"], watch["last_error"]
    assert artifact.leftovers(folder) < 16384


def test_a_file_that_was_removed_while_the_agent_was_down(start, nginx, put, folder):
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.stop()
    os.unlink(os.path.join(folder, "a"))
    agent = start()
    wait_files(folder, {"a": DATA}, agent=agent)


@pytest.mark.parametrize("change", ["longer", "shorter", "same length"])
def test_a_file_that_was_changed_while_the_agent_was_down(start, nginx, put, folder, change):
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.stop()
    bad = {"longer": DATA + b"x", "shorter": DATA[:-1], "same length": b"x" + DATA[1:]}[change]
    with open(os.path.join(folder, "a"), "wb") as f:
        f.write(bad)
    agent = start()
    wait_files(folder, {"a": DATA}, agent=agent)


def test_the_folder_is_gone_altogether(start, nginx, put, folder):
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.stop()
    subprocess.run(["rm", "-rf", folder], check=True)
    agent = start()
    wait_files(folder, {"a": DATA}, agent=agent)


def test_planted_links_lead_nowhere(start, nginx, put, folder, outside):  # noqa: F811
    """Who may write into DIR cannot make the agent write or read elsewhere: what is not its own it does not take."""
    nginx.put("a", DATA)
    os.makedirs(folder + "/.etchlet")
    for name, target in (("a", "file"), ("b", "folder"), ("c", "none")):
        os.symlink(outside / target, os.path.join(folder, name))
    os.mkfifo(os.path.join(folder, "d"))
    os.mkdir(os.path.join(folder, "e"))
    agent = start()
    for name in "abcdef":
        revision = put(name, artifact.value(nginx.url("a"), DATA, name=name))
    agent.wait_position("w", revision)
    assert sorted(os.listdir(folder)) == [".etchlet", "a", "b", "c", "d", "e", "f"]
    assert all(os.path.islink(os.path.join(folder, name)) for name in "abc")
    assert not os.path.exists(outside / "none") and agent.watch("w")["sink_errors"] >= 5
    # What stood in its way is gone: a new value, or the next start, puts it there.
    for name in "abcd":
        os.unlink(os.path.join(folder, name))
    os.rmdir(os.path.join(folder, "e"))
    agent.stop()
    agent = start()
    wait_files(folder, dict.fromkeys("abcdef", DATA), agent=agent)


def test_links_in_the_place_of_what_was_placed(start, nginx, put, folder, outside):  # noqa: F811
    """While the agent runs: neither a new value nor a delete goes through them."""
    nginx.put("a", DATA)
    agent = start()
    for name in "ab":
        put(name, artifact.value(nginx.url("a"), DATA, name=name))
    wait_files(folder, dict.fromkeys("ab", DATA), agent=agent)
    for name in "ab":
        os.unlink(os.path.join(folder, name))
        os.symlink(outside / "file", os.path.join(folder, name))
    other = content(4, 4000)
    nginx.put("b", other)
    agent.wait_position("w", put("a", artifact.value(nginx.url("b"), other, name="a")))
    agent.wait_position("w", put("b", artifact.value(nginx.url("b"), other, name="c")))


def test_the_own_folder_is_a_link(start, nginx, put, folder, outside):  # noqa: F811
    os.makedirs(folder)
    os.symlink(outside / "empty", os.path.join(folder, ".etchlet"))
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    time.sleep(1)
    assert agent.is_running
    assert os.listdir(outside / "empty") == []


def test_planted_parts_of_a_download(start, servers, put, folder):
    """What somebody has put in the place of a download's bytes is found out by the digest."""
    server = servers.http(Plan(DATA, stall_at=150000))
    agent = start()
    put("a", artifact.value(server.url("a"), DATA, name="a"))
    wait_bytes(agent, "a", 150000)
    agent.stop()
    server.default = Plan(DATA)
    for at, _, names in os.walk(os.path.join(folder, ".etchlet")):
        for name in names:
            path = os.path.join(at, name)
            if os.path.getsize(path) >= 150000:
                with open(path, "r+b") as f:
                    f.write(b"planted")
    agent = start()
    # The whole is either found to be damaged at the start or by its digest at the end; never placed.
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert files(folder) in ({}, {"a": DATA})
        time.sleep(0.05)


@pytest.mark.parametrize("what", ["empty", "garbage", "cut"])
def test_damaged_notes_of_the_agent(start, nginx, put, folder, what):
    nginx.put("a", DATA)
    agent = start()
    put("a", artifact.value(nginx.url("a"), DATA, name="a"))
    wait_files(folder, {"a": DATA}, agent=agent)
    agent.stop()
    for at, _, names in os.walk(os.path.join(folder, ".etchlet")):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as f:
                old = f.read()
            with open(path, "wb") as f:
                f.write({"empty": b"", "garbage": b"\xff" * len(old), "cut": old[: len(old) // 2]}[what])
    agent = start()
    other = content(5, 5000)
    nginx.put("b", other)
    put("b", artifact.value(nginx.url("b"), other, name="b"))
    wait_files(folder, {"a": DATA, "b": other}, agent=agent)


def test_foreign_files_in_the_folder(start, full_runner, nginx, put, folder, prefix, etcd35):
    """They stay; one with the name of an artifact is neither written over nor removed, and taken over when it is the same."""
    os.makedirs(folder)
    for name, data in (("precious", b"mine"), ("taken", b"mine too"), ("same", DATA)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    nginx.put("a", DATA)
    agent = start()
    for name in ("taken", "same", "new"):
        revision = put(name, artifact.value(nginx.url("a"), DATA, name=name))
    agent.wait_position("w", revision)
    assert files(folder) == {"precious": b"mine", "taken": b"mine too", "same": DATA, "new": DATA}
    assert "taken" in agent.watch("w")["last_error"] and len(nginx.requests()) == 1
    for name in ("taken", "same", "new"):
        etcd35.client.delete((prefix + name).encode())
    wait_files(folder, {"precious": b"mine", "taken": b"mine too"}, agent=agent)


# Proxies.


@pytest.mark.parametrize("how", ["option", "environment"])
def test_through_a_proxy(start, servers, pki, put, folder, tmp_path, how):
    proxy = servers.tinyproxy(login=("user", "pass:word"[:4]))
    server = servers.nginx(tmp_path / "tls", tls=pki.good)
    server.put("a", DATA)
    # Without it these would be asked directly; the etcd connection goes through it as well.
    if how == "option":
        agent = start(http_cacert=pki.root.cert, agent_options={"proxy": proxy.login_url})
    else:
        agent = start(http_cacert=pki.root.cert, env={n: proxy.login_url for n in ("https_proxy", "http_proxy")})
    put("plain", artifact.value(server.url("a"), DATA, name="plain"))
    put("tls", artifact.value(server.url("a", tls=True), DATA, name="tls"))
    wait_files(folder, {"plain": DATA, "tls": DATA}, agent=agent)
    proxy.kill()
    put("again", artifact.value(server.url("a"), DATA, name="again"))
    agent.wait_stderr(f"127.0.0.1:{proxy.port}")
    assert "again" not in files(folder)
    proxy.start()
    wait_files(folder, {"plain": DATA, "tls": DATA, "again": DATA}, agent=agent, timeout_s=20)


# Histories of chance.


def url_plan(rng, server, name, data):
    """How the server behaves for one URL, by chance; the last answers are always right."""
    plans = []
    for _ in range(rng.randrange(3)):
        plans.append(rng.choice([
            Plan(data, cut_at=rng.randrange(len(data) + 1)), Plan(data, cut_at=rng.randrange(len(data) + 1), rst=True),
            Plan(b"", rng.choice([408, 429, 500, 502, 503])), Plan(raw=b""), Plan(data, range="ignore"),
            Plan(data, range="wrong"), Plan(data, length="chunked"), Plan(data, length=None),
            Plan(data, delay_s=0.03, piece=20000), Plan(data, etag=None, cut_at=rng.randrange(len(data) + 1)),
        ]))
    lock = threading.Lock()

    def choose(_):
        with lock:
            return plans.pop(0) if plans else Plan(data)
    server.paths["/" + name] = choose


@pytest.mark.parametrize("seed", SEEDS)
def test_histories_of_chance(start, etcd35, servers, put, folder, prefix, seed):
    """Keys come, change and go, servers fail, the agent is killed: at the end the folder is what the keys say."""
    rng = random.Random(seed)
    server = servers.http()
    wanted = {}  # key: data, None where it was refused
    names = ["a", "b", "c", "d", "e"]
    agent = start()
    for step in range(60):
        key = rng.choice(names)
        what = rng.random()
        if what < 0.55:
            data = content(seed * 1000 + step, rng.choice([0, 1, 1000, 70000, 200000]))
            url_plan(rng, server, f"{step}", data)
            members = {} if rng.random() < 0.7 else {"size": None}
            put(key, artifact.value(server.url(f"{step}"), data, name=f"file-{key}", **members))
            wanted[key] = data
        elif what < 0.7:
            etcd35.client.delete((prefix + key).encode())
            wanted.pop(key, None)
        elif what < 0.8:
            server.cut()
        elif what < 0.9:
            agent.kill() if rng.random() < 0.7 else agent.stop()
            if rng.random() < 0.3:
                found = sorted(files(folder))
                if found:
                    os.unlink(os.path.join(folder, rng.choice(found)))
            agent = start()
        else:
            time.sleep(rng.random() * 0.3)
    wait_files(folder, {f"file-{k}": d for k, d in wanted.items()}, agent=agent, timeout_s=40)
    agent.stop()
    assert artifact.leftovers(folder) < 16384

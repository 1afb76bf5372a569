# SPDX-License-Identifier: Apache-2.0
"""
Artifacts that values name: `fetch = DIR`. Real etcd and nginx. What lies in DIR is a function of the keys, a file is whole,
verified, or absent.
"""

import os
import re
import signal
import stat
import threading
import time

import pytest

from harness import artifact, metrics_check, wait
from harness.artifact import Signer, content, files, wait_files
from harness.config import Watch
from harness.fetching import folder, hook, put, start  # noqa: F401 (fixtures)
from harness.folders import outside  # noqa: F401 (a fixture)
from harness.hostile_http import Plan
from harness.pki import server_context

MIB = 1 << 20


def artifact_of(agent, name, watch="w"):
    """What the status says of one download, or None."""
    found = (agent.watch(watch) or {}).get("fetch", [])
    return next((a for a in found if a["name"] == name), None)


def wait_artifact(agent, name, condition, timeout_s=10.0):
    def is_so():
        found = artifact_of(agent, name)
        return found if found is not None and condition(found) else None
    try:
        return wait.until(is_so, timeout_s, f"{name} in the status")
    except wait.Timeout:
        raise wait.Timeout(f"{name}: {agent.status()}; {agent.tail()}") from None


# What is promised when nothing goes wrong.


def test_artifact_is_downloaded_verified_and_placed(start, nginx, put, folder):
    data = content(1, 300000)
    nginx.put("fw.bin", data)
    agent = start()
    agent.wait_synced("w")
    revision = put("fw", artifact.value(nginx.url("fw.bin"), data, name="fw.bin"))
    wait_files(folder, {"fw.bin": data}, agent=agent)
    watch = agent.wait_position("w", revision)
    assert watch["events"] == 1 and watch["sink_errors"] == 0 and watch["last_error"] is None
    mode = os.stat(os.path.join(folder, "fw.bin")).st_mode
    assert stat.S_IMODE(mode) == 0o644
    request, = nginx.requests("fw.bin")
    assert request["range"] == "" and request["agent"].startswith("etchlet/")
    agent.stop()
    assert artifact.leftovers(folder) < 4096


def test_what_there_was_before_the_start(start, nginx, put, folder, full_runner):
    wanted = {}
    for i in range(12):
        data = content(i, 1000 * i)
        nginx.put(f"{i}", data)
        put(f"k{i}", artifact.value(nginx.url(f"{i}"), data, name=f"file-{i}"))
        wanted[f"file-{i}"] = data
    agent = start()
    wait_files(folder, wanted, agent=agent)
    agent.stop()
    # Nothing is asked for again when nothing has changed, however it comes back.
    asked = len(nginx.requests())
    os.unlink(full_runner.state)
    agent = start()
    agent.wait_synced("w")
    wait_files(folder, wanted, agent=agent)
    agent.stop()
    assert len(nginx.requests()) == asked


def test_one_key_that_is_no_prefix(full_runner, etcd35, nginx, prefix, folder):
    data = content(1, 5000)
    nginx.put("one", data)
    etcd35.client.put(prefix.encode() + b"one", artifact.value(nginx.url("one"), data, name="one"))
    agent = full_runner.start(etcd35, Watch("w", prefix + "one", prefix=False, fetch=folder))
    wait_files(folder, {"one": data}, agent=agent)


def test_last_good_one_stays_until_the_new_one_is_whole(start, servers, put, folder):
    old, new = content(1, 40000), content(2, 400000)
    server = servers.http()
    server.paths = {"/old": Plan(old), "/new": Plan(new, stall_at=200000)}
    agent = start()
    put("fw", artifact.value(server.url("old"), old, name="fw.bin"))
    wait_files(folder, {"fw.bin": old}, agent=agent)
    revision = put("fw", artifact.value(server.url("new"), new, name="fw.bin"))
    wait_artifact(agent, "fw.bin", lambda a: a["bytes"] == 200000)
    assert files(folder) == {"fw.bin": old}
    assert agent.watch("w")["position"] < revision
    server.paths["/new"] = Plan(new)
    server.cut()
    wait_files(folder, {"fw.bin": new}, agent=agent)
    agent.wait_position("w", revision)


def test_a_reader_never_sees_half_a_file(start, nginx, put, folder):
    versions = [content(i, 150000 + i) for i in range(12)]
    known = {artifact.digest(v) for v in versions}
    agent = start()
    seen, stopped = set(), threading.Event()

    def look():
        while not stopped.is_set():
            try:
                with open(os.path.join(folder, "f"), "rb") as f:
                    seen.add(artifact.digest(f.read()))
            except FileNotFoundError:
                pass
    reader = threading.Thread(target=look)
    reader.start()
    try:
        for data in versions:
            nginx.put("f", data)
            put("f", artifact.value(nginx.url("f"), data, name="f"))
            wait_files(folder, {"f": data}, agent=agent)
    finally:
        stopped.set()
        reader.join()
    assert seen and seen <= known


def test_deleting_the_key_removes_the_file(start, etcd35, nginx, put, folder, prefix):
    data = content(1, 10000)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    put("b", artifact.value(nginx.url("a"), data, name="b"))
    wait_files(folder, {"a": data, "b": data}, agent=agent)
    etcd35.client.delete((prefix + "a").encode())
    wait_files(folder, {"b": data}, agent=agent)
    # While the agent is away, too.
    agent.stop()
    etcd35.client.delete((prefix + "b").encode())
    agent = start()
    wait_files(folder, {}, agent=agent)


def test_deleting_the_key_ends_its_download(start, etcd35, servers, put, folder, prefix):
    data = content(1, 300000)
    server = servers.http(Plan(data, stall_at=100000))
    agent = start()
    put("a", artifact.value(server.url("a"), data, name="a"))
    wait_artifact(agent, "a", lambda a: a["bytes"] == 100000)
    etcd35.client.delete((prefix + "a").encode())
    revision = etcd35.client.last_header.revision
    agent.wait_position("w", revision)
    wait.until(lambda: all(r.ended for r in server.requests), 5, "the connection is closed")
    assert files(folder) == {}
    assert artifact_of(agent, "a") is None
    agent.stop()
    assert artifact.leftovers(folder) < 4096


def test_a_new_name_takes_the_place_of_the_old_one(start, nginx, put, folder):
    data, other = content(1, 10000), content(2, 20000)
    nginx.put("a", data)
    nginx.put("b", other)
    agent = start()
    put("a", artifact.value(nginx.url("a"), data, name="one"))
    wait_files(folder, {"one": data}, agent=agent)
    put("a", artifact.value(nginx.url("a"), data, name="two"))
    wait_files(folder, {"two": data}, agent=agent)
    put("a", artifact.value(nginx.url("b"), other, name="three"))
    wait_files(folder, {"three": other}, agent=agent)


def test_the_newest_value_wins_over_a_download_under_way(start, servers, put, folder):
    old, new = content(1, 300000), content(2, 1000)
    server = servers.http()
    server.paths = {"/old": Plan(old, stall_at=50000), "/new": Plan(new)}
    agent = start()
    put("a", artifact.value(server.url("old"), old, name="a"))
    wait_artifact(agent, "a", lambda a: a["bytes"] == 50000)
    revision = put("a", artifact.value(server.url("new"), new, name="a"))
    wait_files(folder, {"a": new}, agent=agent)
    agent.wait_position("w", revision)
    agent.stop()
    assert artifact.leftovers(folder) < 4096


def test_empty_artifact(start, nginx, put, folder):
    nginx.put("empty", b"")
    agent = start()
    revision = put("e", artifact.value(nginx.url("empty"), b"", name="empty"))
    wait_files(folder, {"empty": b""}, agent=agent)
    agent.wait_position("w", revision)


def test_mode_and_owner(start, nginx, put, folder):
    data = content(1, 100)
    nginx.put("a", data)
    options = {"fetch_mode": "0600"}
    if os.geteuid() == 0:
        options["fetch_owner"] = "65534:65534"
    agent = start(**options)
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    wait_files(folder, {"a": data}, agent=agent)
    found = os.stat(os.path.join(folder, "a"))
    assert stat.S_IMODE(found.st_mode) == 0o600
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid) == (65534, 65534)


def test_once_waits_for_what_is_downloaded(full_runner, etcd35, nginx, put, folder, prefix):
    data = content(1, 60000)
    nginx.slow_rate = 60000
    nginx.kill()
    nginx.start()
    nginx.put("a", data)
    put("a", artifact.value(nginx.url("slow/a"), data, name="a"))
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder))
    done = full_runner.once("--timeout", "20s")
    assert done.returncode == 0, done.stderr
    assert files(folder) == {"a": data}


def test_once_says_what_it_has_waited_for(full_runner, etcd35, servers, put, folder, prefix):
    data = content(1, 60000)
    server = servers.http(Plan(data, stall_at=1000))
    put("a", artifact.value(server.url("a"), data, name="a"))
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder))
    done = full_runner.once("--timeout", "2s")
    assert done.returncode == 1 and b"watch w: " in done.stderr, done.stderr


# Values that are refused: told, kept out, and nothing is held up.


REFUSED_NAMES = ["", ".", "..", "../x", "../outside/file", "/etc/x", "a/b", "a/../../x", ".etchlet", ".etchlet/x",
                 "a\u0000b", "n" * 201, "a\nb", "./a", "a/", ".hidden", "\u00e4", "a b", "%2e%2e", "a\\b", "*", 7, ["a"]]


@pytest.mark.parametrize("name", REFUSED_NAMES, ids=[repr(n)[:20] for n in REFUSED_NAMES])
def test_names_that_are_refused(start, nginx, put, folder, outside, name):  # noqa: F811
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start()
    put("bad", artifact.value(nginx.url("a"), data, name=name))
    revision = put("good", artifact.value(nginx.url("a"), data, name="good"))
    wait_files(folder, {"good": data}, agent=agent)
    watch = agent.wait_position("w", revision)
    assert watch["sink_errors"] >= 1 and watch["last_error"]
    assert len(nginx.requests("a")) == 1, "what is refused is not asked for"


REFUSED_VALUES = {
    "empty": b"", "no JSON": b"fw.bin", "a number": b"7", "a list": b"[]", "no member": b"{}",
    "torn": b'{"url":"http://127.0.0.1/a","sha256":"', "no url": None, "no digest": None, "short digest": None,
    "digest that is not hex": None, "size below 0": None, "size that is no number": None, "no size": None,
    "ftp": None, "file": None, "no host": None, "url with a line end": None, "url too long": None,
    "more behind": None, "url that is a list": None, "not UTF-8": b'{"url":"http://127.0.0.1/\xff"}',
    "deep": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "very long": b'{"a":"' + b"x" * 200000 + b'"}',
}


@pytest.mark.parametrize("what", REFUSED_VALUES)
def test_values_that_are_refused(start, nginx, put, folder, what):
    data = content(1, 1000)
    nginx.put("a", data)
    url, v = nginx.url("a"), artifact.value
    value = {
        "no url": lambda: v(None, data, name="bad"), "no digest": lambda: v(url, data, name="bad", sha256=None),
        "short digest": lambda: v(url, data, name="bad", sha256=artifact.digest(data)[:63]),
        "digest that is not hex": lambda: v(url, data, name="bad", sha256="g" * 64),
        "size below 0": lambda: v(url, data, name="bad", size=-1),
        "size that is no number": lambda: v(url, data, name="bad", size="big"),
        "no size": lambda: v(url, data, name="bad", size=None),
        "ftp": lambda: v("ftp://127.0.0.1/a", data, name="bad"), "file": lambda: v("file:///etc/passwd", data, name="bad"),
        "no host": lambda: v("http:///a", data, name="bad"),
        "url with a line end": lambda: v(url + "\r\nX: y", data, name="bad"),
        "url too long": lambda: v(url + "?" + "x" * 5000, data, name="bad"),
        "more behind": lambda: v(url, data, name="bad") + b"x", "url that is a list": lambda: v([url], data, name="bad"),
    }.get(what, lambda: REFUSED_VALUES[what])()
    agent = start()
    put("bad", value)
    revision = put("good", v(url, data, name="good"))
    if what == "no size":  # it is not needed: the server tells it
        wait_files(folder, {"good": data, "bad": data}, agent=agent)
        return
    wait_files(folder, {"good": data}, agent=agent)
    watch = agent.wait_position("w", revision)
    assert watch["sink_errors"] >= 1 and watch["last_error"]
    assert len(nginx.requests()) == 1
    # A better value heals it.
    put("bad", v(url, data, name="healed"))
    wait_files(folder, {"good": data, "healed": data}, agent=agent)


def test_a_refused_value_leaves_the_last_good_one(start, nginx, put, folder):
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    wait_files(folder, {"a": data}, agent=agent)
    revision = put("a", b"not what it should be")
    agent.wait_position("w", revision)
    assert files(folder) == {"a": data}
    # And after a restart.
    agent.stop()
    agent = start()
    agent.wait_synced("w")
    assert files(folder) == {"a": data}


def test_two_keys_of_one_name(start, etcd35, nginx, put, folder, prefix):
    """The file is one of them, always the same one, and the other takes over when that is gone."""
    one, two = content(1, 1000), content(2, 2000)
    nginx.put("1", one)
    nginx.put("2", two)
    agent = start()
    put("a", artifact.value(nginx.url("1"), one, name="same"))
    wait_files(folder, {"same": one}, agent=agent)
    revision = put("b", artifact.value(nginx.url("2"), two, name="same"))
    watch = agent.wait_position("w", revision)
    assert files(folder) in ({"same": one}, {"same": two})
    assert watch["last_error"] and "same" in watch["last_error"]


def test_larger_than_allowed(start, servers, put, folder):
    data = content(1, 20000)
    server = servers.http(Plan(data))
    agent = start(fetch_max_size="10K")
    agent.wait_synced("w")
    revision = put("told", artifact.value(server.url("told"), data, name="told"))
    agent.wait_position("w", revision)
    put("small", artifact.value(server.url("lie"), data, name="lie", size=9000))
    put("untold", artifact.value(server.url("untold"), data, name="untold", size=None))
    agent.wait_watch("w", lambda w: w["sink_errors"] >= 3)
    assert files(folder) == {}
    assert not server.of("told"), "what is too large by its value is not asked for"
    assert all(r.sent <= 64 * 1024 for r in server.requests)
    assert agent.watch("w")["sink_errors"] >= 2


# The hook.


def test_hook_runs_when_the_artifact_is_in_place(start, servers, put, folder, hook, prefix):
    data = content(1, 300000)
    server = servers.http(Plan(data, stall_at=100000))
    agent = start(exec=hook.command)
    hook.wait_ended(1)  # the empty listing
    revision = put("a", artifact.value(server.url("a"), data, name="dir.d-a"))
    wait_artifact(agent, "dir.d-a", lambda a: a["bytes"] == 100000)
    wait.holds_for(lambda: len(hook.runs()) == 1, 0.5, "the hook waits")
    server.default = Plan(data)
    server.cut()
    run = hook.wait_ended(2)
    event, = run.events
    assert event["path"] == "dir.d-a" and "value" not in event and event["key"] == prefix + "a"
    assert run.env["ETCHLET_FETCH"] == folder and "ETCHLET_MIRROR" not in run.env
    assert run.files == {"dir.d-a": data}
    assert run.revision == revision
    agent.wait_position("w", revision)


def test_hook_is_told_of_a_listing_when_all_of_it_is_there(start, nginx, put, folder, hook):
    wanted = {}
    for i in range(7):
        data = content(i, 30000)
        nginx.put(str(i), data)
        put(str(i), artifact.value(nginx.url(f"slow/{i}"), data, name=f"f{i}"))
        wanted[f"f{i}"] = data
    agent = start(exec=hook.command)
    run = hook.wait_ended(1, 20)
    assert run.files == wanted
    assert sorted(e["path"] for e in run.events) == sorted(wanted)
    agent.wait_synced("w")


def test_hook_is_not_told_of_what_is_refused(start, nginx, put, folder, hook, prefix):
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start(exec=hook.command)
    hook.wait_ended(1)
    revision = put("a", artifact.value(nginx.url("a"), data, name="a", sha256="0" * 64))
    agent.wait_position("w", revision)
    revision = put("b", b"garbage")
    agent.wait_position("w", revision)
    assert len(hook.runs()) == 1
    revision = put("c", artifact.value(nginx.url("a"), data, name="c"))
    run = hook.wait_ended(2)
    assert [e["key"] for e in run.events] == [prefix + "c"] and run.files == {"c": data}
    agent.wait_position("w", revision)


def test_hook_is_told_of_what_is_taken_later(start, nginx, put, folder, hook, prefix):
    """A file in the way goes after the batch of its value: everything is listed for the hook, once."""
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start(exec=hook.command)
    hook.wait_ended(1)
    with open(os.path.join(folder, "a"), "wb") as f:
        f.write(b"somebody's")
    revision = put("a", artifact.value(nginx.url("a"), data, name="a"))
    agent.wait_position("w", revision)
    assert len(hook.runs()) == 1
    os.unlink(os.path.join(folder, "a"))
    agent.send_signal(signal.SIGUSR1)
    run = hook.wait_ended(2)
    assert [e["key"] for e in run.events if "key" in e] == [prefix + "a"]
    assert run.files == {"a": data}
    agent.wait_synced("w")
    agent.send_signal(signal.SIGUSR1)
    wait.holds_for(lambda: len(hook.runs()) == 2, 1, "one listing")
    assert len(nginx.requests("a")) == 1


def test_hook_that_fails_is_given_the_same_again(start, etcd35, nginx, put, folder, hook, prefix):
    data = content(1, 1000)
    nginx.put("a", data)
    hook.plan(r2={"exit": 1})
    agent = start(exec=hook.command)
    hook.wait_ended(1)
    revision = put("a", artifact.value(nginx.url("a"), data, name="a"))
    run = hook.wait_ended(3)
    assert run.files == {"a": data}
    agent.wait_position("w", revision)
    etcd35.client.delete((prefix + "a").encode())
    run = hook.wait_ended(4)
    assert [e["type"] for e in run.events] == ["delete"]
    assert files(folder) == {}
    assert len(nginx.requests("a")) == 1


# TLS.


@pytest.fixture
def secure(servers, pki, tmp_path):
    return servers.nginx(tmp_path / "secure", tls=pki.good)


def test_https_by_an_own_authority(start, secure, put, folder, pki):
    data = content(1, 200000)
    secure.put("a", data)
    agent = start(http_cacert=pki.root.cert)
    put("a", artifact.value(secure.url("a", tls=True), data, name="a"))
    wait_files(folder, {"a": data}, agent=agent)
    assert secure.requests("a")[0]["protocol"] in ("TLSv1.2", "TLSv1.3")


def test_https_of_another_authority_is_refused(start, secure, put, folder, pki, full_runner, etcd35, prefix):
    data = content(1, 2000)
    secure.put("a", data)
    agent = start(http_cacert=pki.other.cert)
    put("a", artifact.value(secure.url("a", tls=True), data, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"] and "certificate" in w["last_error"])
    assert files(folder) == {} and not secure.requests()
    # The right one by SIGHUP: nothing has to be put again.
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder, http_cacert=pki.root.cert))
    agent.send_signal(signal.SIGHUP)
    wait_files(folder, {"a": data}, agent=agent)


def test_https_with_another_name_is_refused(start, servers, put, folder, pki, tmp_path):
    wrong = pki.root.issue("127.0.0.1", "DNS:example.com")
    server = servers.nginx(tmp_path / "wrong", tls=wrong)
    data = content(1, 2000)
    server.put("a", data)
    agent = start(http_cacert=pki.root.cert)
    put("a", artifact.value(server.url("a", tls=True), data, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"])
    assert files(folder) == {} and not server.requests()


def test_client_certificate(start, servers, put, folder, pki, tmp_path, full_runner, etcd35, prefix):
    server = servers.nginx(tmp_path / "mutual", tls=pki.good, client_ca=pki.root.cert)
    data = content(1, 50000)
    server.put("a", data)
    agent = start(http_cacert=pki.root.cert)
    put("a", artifact.value(server.url("a", tls=True), data, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"])
    assert files(folder) == {}
    agent.stop()
    agent = start(http_cacert=pki.root.cert, http_cert=pki.client["cert"], http_key=pki.client["key"])
    wait_files(folder, {"a": data}, agent=agent)
    assert "CN=agent" in server.requests("a")[-1]["client"]


def test_resume_over_tls(start, servers, put, folder, pki):
    data = content(1, 200000)
    server = servers.http(Plan(data), context=server_context(pki.good, alpn=()))
    server.plans = [Plan(data, cut_at=70000), Plan(data, cut_at=70000)]
    agent = start(http_cacert=pki.root.cert)
    put("a", artifact.value(server.url("a"), data, name="a"))
    wait_files(folder, {"a": data}, agent=agent)
    firsts = [r.range_first for r in server.requests]
    assert firsts[0] is None and None not in firsts[1:] and firsts == sorted(firsts, key=lambda n: n or 0)


# Redirects.


def test_a_chain_of_redirects_is_followed(start, nginx, put, folder):
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url("hop3/a"), data, name="a"))
    put("b", artifact.value(nginx.url("moved/a"), data, name="b"))
    wait_files(folder, {"a": data, "b": data}, agent=agent)


@pytest.mark.parametrize("path", ["loop/a", "hop12/a"])
def test_redirects_are_limited(start, nginx, put, folder, path):
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url(path), data, name="a"))
    watch = agent.wait_watch("w", lambda w: w["last_error"])
    assert "redirect" in watch["last_error"], watch["last_error"]
    assert files(folder) == {} and not nginx.requests("a")


def test_http_to_https_but_never_back(start, servers, secure, put, folder, pki):
    data = content(1, 1000)
    secure.put("a", data)
    agent = start(http_cacert=pki.root.cert)
    put("up", artifact.value(secure.url("up/a"), data, name="up"))
    wait_files(folder, {"up": data}, agent=agent)
    before = len(secure.requests("a"))
    put("down", artifact.value(secure.url("down/a", tls=True), data, name="down"))
    watch = agent.wait_watch("w", lambda w: w["last_error"])
    assert "https" in watch["last_error"], watch["last_error"]
    assert files(folder) == {"up": data} and len(secure.requests("a")) == before


def test_a_relative_redirect(start, servers, put, folder):
    data = content(1, 1000)
    server = servers.http()
    server.paths = {"/x/a": Plan(b"", 302, headers={"Location": "../y/b?c#d"}), "/y/b": Plan(data)}
    agent = start()
    put("a", artifact.value(server.url("x/a"), data, name="a"))
    wait_files(folder, {"a": data}, agent=agent)
    assert [r.target for r in server.requests] == ["/x/a", "/y/b?c"]


def test_a_redirect_to_a_file_is_not_followed(start, servers, put, folder):
    data = content(1, 1000)
    server = servers.http(Plan(b"", 302, headers={"Location": "file:///etc/passwd"}))
    agent = start()
    put("a", artifact.value(server.url("a"), data, name="a"))
    agent.wait_watch("w", lambda w: w["last_error"])
    assert files(folder) == {}


# Limits of time and room.


def test_rate_limit(start, nginx, put, folder):
    data = content(1, 600000)
    nginx.put("a", data)
    agent = start(fetch_rate="200K")
    agent.wait_synced("w")
    begin = time.monotonic()
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    found = wait_artifact(agent, "a", lambda a: a["bytes"] > 200000 and a["rate"])
    assert found["size"] == len(data) and found["state"] and found["eta_s"] is not None
    assert 100000 < found["rate"] < 320000 and 0 <= found["eta_s"] <= 5
    wait_files(folder, {"a": data}, agent=agent)
    took = time.monotonic() - begin
    # What lies in the sockets' buffers at the start comes at once.
    assert 1.4 < took < 5, f"600,000 bytes at 200 KiB/s took {took:.2f} s"


def test_rate_limit_holds_for_all_of_a_watch_together(start, nginx, put, folder):
    data = content(1, 200000)
    nginx.put("a", data)
    agent = start(fetch_rate="200K")
    agent.wait_synced("w")
    begin = time.monotonic()
    for name in "abc":
        put(name, artifact.value(nginx.url("a"), data, name=name))
    wait_files(folder, dict.fromkeys("abc", data), agent=agent)
    took = time.monotonic() - begin
    assert 1.2 < took < 6, f"3 times 200,000 bytes at 200 KiB/s took {took:.2f} s"


def test_three_at_once_while_events_flow(start, etcd35, nginx, put, folder, prefix, tmp_path):
    """Downloads hold up neither another watch nor what happens to other keys of their own."""
    data = content(1, 250000)
    nginx.put("a", data)
    lines = tmp_path / "lines"
    other = Watch("other", prefix[:-1] + "-other/", print=str(lines))
    agent = start(watches=[other])
    agent.wait_synced("w", "other")
    begin = time.monotonic()
    for i in range(6):
        put(f"{i}", artifact.value(nginx.url("slow/a"), data, name=f"f{i}"))
    small = content(2, 100)
    nginx.put("small", small)
    most, last = 0, None
    for i in range(60):
        etcd35.client.put(f"{prefix[:-1]}-other/{i}".encode(), b"%d" % i)
        last = etcd35.client.last_header.revision
        time.sleep(0.02)
        found = (agent.watch("w") or {}).get("fetch", [])
        most = max(most, sum(1 for a in found if a["bytes"] and a["bytes"] < a["size"]))
    agent.wait_position("other", last, timeout_s=2)
    assert time.monotonic() - begin < 4.5, "the events waited for the downloads"
    put("5", artifact.value(nginx.url("small"), small, name="f5"))
    wait_files(folder, {**{f"f{i}": data for i in range(5)}, "f5": small}, agent=agent, timeout_s=20)
    assert most == 3, f"{most} were under way at once"
    assert lines.read_bytes().count(b'"type":"put"') == 60


def test_stop_during_a_download(start, nginx, put, folder):
    data = content(1, MIB)
    nginx.put("a", data)
    agent = start()
    put("a", artifact.value(nginx.url("slow/a"), data, name="a"))
    wait_artifact(agent, "a", lambda a: a["bytes"] > 0)
    agent.stop()
    assert files(folder) == {}
    agent = start()
    nginx.remove("a")
    nginx.put("slow/a", data)
    agent.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_memory_of_a_large_artifact(start, servers, put, folder, pki, tmp_path, full, tls):
    if full.is_sanitized:
        pytest.skip("a sanitizer takes memory of its own")
    size = (100 if tls else 500) << 20
    server = servers.nginx(tmp_path / "large", tls=pki.good if tls else None)
    server.put_sparse("large", size)
    agent = start(http_cacert=pki.root.cert)
    small = content(1, 1000)
    server.put("small", small)
    put("small", artifact.value(server.url("small", tls=tls), small, name="small"))
    wait_files(folder, {"small": small}, agent=agent)
    before = agent.peak_kb()
    revision = put("large", artifact.value(server.url("large", tls=tls), name="large", size=size,
                                           sha256=artifact.zeros_digest(size)))
    agent.wait_position("w", revision, timeout_s=60)
    path = os.path.join(folder, "large")
    assert os.path.getsize(path) == size
    os.unlink(path)
    after = agent.peak_kb()
    # The promise is 8 MiB; what is measured is about 1 MiB, and nothing of it grows with the artifact.
    assert after < 1536 and after - before < 128, (before, after)


# What is told.


def test_status_without_a_fetch_is_as_it_was(full_runner, etcd35, prefix, tmp_path):
    agent = full_runner.mirror(etcd35, prefix, str(tmp_path / "m"))
    agent.wait_synced("w")
    assert "fetch" not in agent.watch("w")


def test_status_lists_what_is_under_way_and_what_was_refused(start, servers, put, folder, full_runner, full, prefix):
    data = content(1, 300000)
    server = servers.http()
    server.paths = {"/slow": Plan(data, stall_at=100000), "/bad": Plan(b"x" * 300000), "/gone": Plan(b"", 404)}
    agent = start()
    put("slow", artifact.value(server.url("slow"), data, name="slow.bin"))
    put("bad", artifact.value(server.url("bad"), data, name="bad.bin"))
    put("gone", artifact.value(server.url("gone"), data, name="gone.bin"))
    slow = wait_artifact(agent, "slow.bin", lambda a: a["bytes"] == 100000)
    assert slow["key"] == prefix + "slow" and slow["size"] == 300000 and slow["error"] is None
    bad = wait_artifact(agent, "bad.bin", lambda a: a["error"])
    assert "digest" in bad["error"] or "SHA-256" in bad["error"], bad
    gone = wait_artifact(agent, "gone.bin", lambda a: a["error"])
    assert "404" in gone["error"], gone
    states = {a["name"]: a["state"] for a in agent.watch("w")["fetch"]}
    assert len(set(states.values())) == 3, states
    table = full.run("status", "--control", full_runner.control).stdout.decode()
    assert re.search(r"slow\.bin +33 %", table), table
    assert re.search(r"! .*bad\.bin", table) and re.search(r"gone\.bin.*404", table), table


def test_status_is_bounded(start, servers, put, folder):
    server = servers.http(Plan(b"", 404))
    agent = start()
    agent.wait_synced("w")
    for i in range(60):
        revision = put(f"{i}", artifact.value(server.url("a"), b"x", name="n" * 190 + f"{i}"))
    agent.wait_watch("w", lambda w: w["last_error"] and w["events"] == 60)
    found = agent.watch("w")["fetch"]
    assert 1 <= len(found) <= 16, len(found)
    assert revision


def test_metrics(start, nginx, put, folder, tmp_path):
    data = content(1, 70000)
    nginx.put("a", data)
    metrics = tmp_path / "metrics.prom"
    agent = start(agent_options={"metrics": str(metrics), "metrics_interval": "1s"})
    put("a", artifact.value(nginx.url("a"), data, name="a"))
    revision = put("b", artifact.value(nginx.url("a"), data, name="b", sha256="1" * 64))
    agent.wait_position("w", revision)
    wait_files(folder, {"a": data}, agent=agent)

    def told():
        text = metrics.read_bytes() if metrics.exists() else b""
        return text if b'etchlet_fetch_artifacts_total{watch="w",result="refused"} 1' in text else None
    text = wait.until(told, 5, "the metrics")
    assert not metrics_check.check(text), metrics_check.check(text)
    assert b'etchlet_fetch_artifacts_total{watch="w",result="placed"} 1\n' in text
    assert b'etchlet_fetch_bytes_total{watch="w"} 140000\n' in text


def read_terminal(fd, seconds, until=None):
    """What appears on a terminal."""
    got, deadline = b"", time.monotonic() + seconds
    os.set_blocking(fd, False)
    while time.monotonic() < deadline:
        try:
            got += os.read(fd, 65536)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            break
        if until and until(got):
            break
    return got


def test_progress_on_a_terminal(full, full_runner, etcd35, nginx, put, folder, prefix):
    import subprocess
    data = content(1, 400000)
    nginx.put("a", data)
    put("a", artifact.value(nginx.url("slow/a"), data, name="fw.bin"))
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder))
    near, far = os.openpty()
    process = subprocess.Popen([full.binary, "run", "--config", full_runner.config], stdin=far, stdout=subprocess.DEVNULL,
                               stderr=far, env=full.env, start_new_session=True)
    os.close(far)
    try:
        got = read_terminal(near, 15, lambda g: b"fw.bin is in place" in g or g.count(b"fw.bin") > 40)
        process.send_signal(signal.SIGTERM)
        got += read_terminal(near, 2)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
        os.close(near)
    assert files(folder) == {"fw.bin": data}
    text = got.decode()
    drawn = re.findall(r"fw\.bin +(\d+) % +[\d.]+ of [\d.]+ KiB", text)
    assert 2 <= len(drawn) <= 6, text
    assert [int(n) for n in drawn] == sorted(int(n) for n in drawn)
    # A line of the log begins where the progress was taken away, and nothing is left of it at the end.
    for before in re.findall(r"([^\n]*)etchlet: (?:info|warn|error): ", text):
        assert before.rsplit("\r", 1)[-1].replace("\x1b[K", "") == "", repr(before)
    assert text.endswith("\n") or text.endswith("\x1b[K"), repr(text[-80:])


# Signatures.


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer(str(tmp_path_factory.mktemp("signer")))


def test_signed_artifact(start, nginx, put, folder, signer):
    data = content(1, 20000)
    nginx.put("a", data)
    agent = start(fetch_pubkey=signer.public)
    put("a", artifact.value(nginx.url("a"), data, name="a", sig=signer.sign(data)))
    wait_files(folder, {"a": data}, agent=agent)


BAD_SIGNATURES = ["missing", "other key", "other data", "garbage", "no base64", "empty", "cut", "longer", "other digest",
                  "a number"]


@pytest.mark.parametrize("what", BAD_SIGNATURES)
def test_what_is_not_signed_rightly_is_kept_out(start, nginx, put, folder, signer, hook, tmp_path, what):
    data = content(1, 20000)
    nginx.put("a", data)
    good = signer.sign(data)
    sig = {"missing": lambda: None, "other key": lambda: Signer(str(tmp_path), "other").sign(data),
           "other data": lambda: signer.sign(data + b"x"), "garbage": lambda: "AAAA" * 20, "no base64": lambda: "!" * 96,
           "empty": lambda: "", "cut": lambda: good[:40], "longer": lambda: good[:92] + "AAAA" * 100,
           "other digest": lambda: signer.sign(data, "-sha384"), "a number": lambda: 7}[what]()
    agent = start(fetch_pubkey=signer.public, exec=hook.command)
    hook.wait_ended(1)
    revision = put("a", artifact.value(nginx.url("a"), data, name="a", sig=sig))
    watch = agent.wait_position("w", revision)
    assert files(folder) == {} and len(hook.runs()) == 1
    assert "sig" in watch["last_error"], watch["last_error"]
    assert not nginx.requests("a"), "what is not signed is not asked for"
    # With a good one it comes.
    put("a", artifact.value(nginx.url("a"), data, name="a", sig=good))
    wait_files(folder, {"a": data}, agent=agent)


@pytest.mark.parametrize("what", ["missing", "garbage", "private", "P-384", "RSA"])
def test_public_keys_that_cannot_be_used(full_runner, etcd35, nginx, put, folder, prefix, signer, tmp_path, what):
    """Nothing is taken on trust when the key is not there."""
    import subprocess
    path = str(tmp_path / "pub")
    if what == "garbage":
        with open(path, "w") as f:
            f.write("nothing of the kind\n")
    elif what == "private":
        path = signer.private
    elif what == "P-384":
        path = Signer(str(tmp_path), "p384", "secp384r1").public
    elif what == "RSA":
        subprocess.run(f"openssl genrsa 2048 2>/dev/null | openssl rsa -pubout -out {path} 2>/dev/null", shell=True,
                       check=True)
    data = content(1, 2000)
    nginx.put("a", data)
    put("a", artifact.value(nginx.url("a"), data, name="a", sig=signer.sign(data)))
    agent = full_runner.start(etcd35, Watch("w", prefix, fetch=folder, fetch_pubkey=path))
    assert agent.wait_exit() == 2 and path.encode() in agent.stderr(), agent.tail()
    assert b"fetch-pubkey" in agent.stderr()
    assert files(folder) == {} and not nginx.requests()
    done = full_runner.etchlet.run("check", "--config", full_runner.config)
    assert done.returncode in (1, 2) and path.encode() in done.stdout + done.stderr, done


# Configuration.


def test_check_tells_of_the_folder_and_the_files(full, full_runner, etcd35, prefix, folder, tmp_path):
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder))
    done = full.run("check", "--config", full_runner.config)
    assert done.returncode == 0, done.stdout
    missing = str(tmp_path / "missing.pem")
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder, http_cacert=missing))
    done = full.run("check", "--config", full_runner.config)
    assert done.returncode == 2 and missing.encode() in done.stdout + done.stderr, done
    done = full_runner.once("--timeout", "3s")
    assert done.returncode == 2 and missing.encode() in done.stderr, done


def test_a_binary_without_it_says_so(etchlet, runner, etcd35, prefix, folder):
    if b"libcurl" in etchlet.run("version").stdout:
        pytest.skip("this binary has it")
    runner.configure(etcd35, Watch("w", prefix, fetch=folder))
    for command in ("run", "check"):
        done = etchlet.run(command, "--config", runner.config)
        assert done.returncode == 2 and b"fetch" in done.stderr + done.stdout, done


def test_mirror_and_fetch_do_not_go_together(full, full_runner, etcd35, prefix, folder, tmp_path):
    full_runner.configure(etcd35, Watch("w", prefix, fetch=folder, mirror=str(tmp_path / "m")))
    done = full.run("run", "--config", full_runner.config)
    assert done.returncode == 2 and b"mirror" in done.stderr and b"fetch" in done.stderr, done.stderr


def test_two_watches_in_one_folder(full, full_runner, etcd35, prefix, folder):
    full_runner.configure(etcd35, Watch("a", prefix, fetch=folder),
                          Watch("b", prefix[:-1] + "-b/", fetch=os.path.join(folder, "sub")))
    done = full.run("run", "--config", full_runner.config)
    assert done.returncode == 2, done.stderr


def test_status_is_json_all_the_way(start, servers, put, folder, prefix):
    """A key of any kind is shown, never broken off inside a character."""
    server = servers.http(Plan(b"", 404))
    key = 'x"\\\u00e4\U0001f600'
    agent = start()
    put(key, artifact.value(server.url("none"), b"x", name="a"))
    found = wait_artifact(agent, "a", lambda a: a["error"])
    assert found["key"] == prefix + key


def test_without_a_name_it_is_the_end_of_the_key(start, nginx, put, folder):
    data = content(1, 1000)
    nginx.put("a", data)
    agent = start()
    put("deep/er/fw-1.2.bin", artifact.value(nginx.url("a"), data))
    wait_files(folder, {"fw-1.2.bin": data}, agent=agent)

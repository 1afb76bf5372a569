# SPDX-License-Identifier: Apache-2.0
"""
The hook of `etchlet run`: what it is given, when it counts as processed, and that no misbehaviour of
it harms more than its own watch.
"""

import base64
import os
import random
import re
import signal
import time

import pytest

from harness import hook as hook_module
from harness import mirror_model, wait
from harness.agent import value_of
from harness.config import Raw, Watch
from harness.folders import disks  # noqa: F401 (a fixture)
from harness.hook import is_alive, text
from harness.mirror_model import value
from harness.run_agent import IDLE


@pytest.fixture
def hook(tmp_path):
    return hook_module.Hook(str(tmp_path / "hook"))


@pytest.fixture
def start(runner, hook):
    """start(server, key, ...) runs a watch "w" with the hook; options of the watch by name."""
    def begin(server, key, words=(), env=None, preexec=None, agent_options=None, **options):
        return runner.start(server, Watch("w", key, exec=hook.command, **options), words=words, env=env,
                            preexec=preexec, **(agent_options or {}))
    return begin


def all_events(hook):
    """Events of all runs that ended, in order, without those of listings."""
    return [e for r in hook.ended() if r.stdin is not None for e in r.events if "sync" not in e]


# What it is given.


def test_first_listing_is_one_batch(start, hook, etcd, prefix):
    for i in range(700):  # more than one page of a listing
        etcd.client.put(f"{prefix}{i:03d}".encode(), b"v%d" % i)
    agent = start(etcd, prefix)
    run = hook.wait_ended(1)
    first, *events, last = run.lines
    assert list(first) == ["watch", "type", "reason", "revision"]
    assert first == {"watch": "w", "type": "sync", "reason": "first", "revision": first["revision"]}
    assert last == {"watch": "w", "type": "synced", "revision": first["revision"]}
    assert run.keys == [f"{prefix}{i:03d}" for i in range(700)]
    assert list(events[0]) == ["watch", "type", "key", "value", "create_revision", "mod_revision", "version",
                               "lease", "sync"]
    assert all(e["sync"] is True and e["watch"] == "w" for e in events)
    assert (run.reason, run.revision) == ("first", first["revision"])
    agent.wait_position("w", first["revision"])
    assert len(hook.runs()) == 1


def test_empty_listing_is_a_batch_too(start, hook, etcd35, prefix):
    start(etcd35, prefix)
    run = hook.wait_ended(1)
    assert [line["type"] for line in run.lines] == ["sync", "synced"]
    assert run.reason == "first"


def test_transaction_is_one_batch(start, hook, etcd, prefix):
    root = prefix.encode()
    etcd.client.put(root + b"old", b"")
    agent = start(etcd, prefix)
    hook.wait_ended(1)
    revision = etcd.client.txn([("put", root + b"%03d" % i, b"\xfe" if i % 2 else b"text \"\\\x01")
                                for i in range(300)] + [("delete", root + b"old")])
    run = hook.wait_ended(2)
    assert run.keys == [f"{prefix}{i:03d}" for i in range(300)] + [prefix + "old"]
    assert (run.reason, run.revision) == ("event", revision)
    put, delete = run.lines[0], run.lines[-1]
    assert list(put) == ["watch", "type", "key", "value", "create_revision", "mod_revision", "version", "lease"]
    assert delete == {"watch": "w", "type": "delete", "key": prefix + "old", "mod_revision": revision}
    assert "value_base64" in run.lines[1] and value_of(run.lines[1]) == b"\xfe"
    agent.wait_position("w", revision)
    assert len(hook.runs()) == 2


def test_answer_of_many_revisions_is_one_batch(start, runner, hook, etcd, prefix):
    start(etcd, prefix).wait_synced("w")
    runner.etchlet.agents[-1].stop()
    etcd.client.put_many([(f"{prefix}{i:03d}".encode(), b"v") for i in range(300)])
    runner.start()
    run = hook.wait_ended(2)
    assert (len(run.events), run.revision) == (300, run.events[-1]["mod_revision"])


def test_bytes_of_the_lines(start, hook, etcd35, prefix):
    """Nothing is escaped but what must be, and there are no spaces."""
    start(etcd35, prefix)
    hook.wait_ended(1)
    revision = etcd35.client.put(prefix.encode() + "ä/".encode(), b"x")
    run = hook.wait_ended(2)
    assert run.stdin == (f'{{"watch":"w","type":"put","key":"{prefix}ä/","value":"x","create_revision":{revision},'
                         f'"mod_revision":{revision},"version":1,"lease":"0"}}\n').encode()


def test_environment_and_surroundings(start, hook, etcd35, prefix, tmp_path):
    def unusual():
        # A pipe that the agent was started with must not reach the hook, nor blocked signals.
        read, write = os.pipe()
        os.set_inheritable(write, True)
        os.dup2(write, 77)
    start(etcd35, prefix, mirror=str(tmp_path / "m"), env={"OWN": "kept"}, preexec=unusual,
          agent_options={"device_id": "dev 7"})
    hook.wait_ended(1)
    revision = etcd35.client.put(prefix.encode() + b"a", b"1")
    run = hook.wait_ended(2)
    assert {n: v for n, v in run.env.items() if n.startswith("ETCHLET")} == {
        "ETCHLET_WATCH": "w", "ETCHLET_REVISION": str(revision), "ETCHLET_REASON": "event",
        "ETCHLET_MIRROR": str(tmp_path / "m"), "ETCHLET_DEVICE": "dev 7"}
    assert run.env["OWN"] == "kept" and "PATH" in run.env
    assert run.argv[1:] == [hook.directory]
    assert run.blocked == 0
    assert run.ignored & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGCHLD - 1) | 1 << (signal.SIGINT - 1)) == 0
    assert run.pgid == run.pid, "the hook leads no process group of its own"


def test_only_standard_descriptors_reach_the_hook(start, hook, etcd35, prefix, tmp_path):
    """With the state, socket, connection, log and mirror open."""
    start(etcd35, prefix, mirror=str(tmp_path / "m"), print=str(tmp_path / "lines"),
          agent_options={"metrics": str(tmp_path / "metrics"), "durability": "relaxed"})
    hook.wait_ended(1)
    etcd35.client.put(prefix.encode() + b"a", b"1")
    assert hook.wait_ended(1).fds == [0, 1, 2]
    assert hook.wait_ended(2).fds == [0, 1, 2]


def test_path_in_place_of_the_value(start, hook, etcd35, prefix, tmp_path):
    root = prefix.encode()
    names = {b"a": "a", b"d/e": "d/e", b"..": "%2E%2E", b"\xff": "%FF", b"": "%", b"d": "d/%%"}
    for name in names:
        etcd35.client.put(root + name, b"value of " + name)
    etcd35.client.put(root + b"n" * 300, b"unmappable")
    agent = start(etcd35, prefix, mirror=str(tmp_path / "m"))
    run = hook.wait_ended(1)
    by_key = {base64.b64decode(e["key_base64"]) if "key_base64" in e else e["key"].encode(): e for e in run.events}
    assert {k[len(root):]: e["path"] for k, e in by_key.items() if "path" in e} == names
    assert "path" not in by_key[root + b"n" * 300]
    assert not any("value" in e or "value_base64" in e for e in run.events)
    assert list(by_key[root + b"a"]) == ["watch", "type", "key", "path", "create_revision", "mod_revision", "version",
                                         "lease", "sync"]
    # It is in the mirror when the hook begins.
    assert run.files == {path: b"value of " + name for name, path in names.items()}
    revision = etcd35.client.txn([("put", root + b"a", b"new"), ("delete", root + b"d"), ("put", root + b"z/y", b"zy"),
                                ("put", root + b"m" * 300, b"unmappable")])
    run = hook.wait_ended(2)
    assert run.files == {"a": b"new", "z/y": b"zy"}
    delete = next(e for e in run.events if e["type"] == "delete")
    assert delete == {"watch": "w", "type": "delete", "key": prefix + "d", "mod_revision": revision}
    agent.wait_position("w", revision)


def test_hook_waits_for_the_mirror(runner, hook, etcd35, prefix, disks, tmp_path):
    disk, out = disks(str(tmp_path / "disk")), tmp_path / "out"
    agent = runner.start(etcd35, Watch("w", prefix, mirror=os.path.join(disk.path, "m"), exec=hook.command,
                                       print=str(out)))
    hook.wait_ended(1)
    agent.wait_synced("w")
    disk.fill()
    for name in ("big", "bigger"):
        etcd35.client.put(f"{prefix}{name}".encode(), name.encode() * 5000)
    wait.until(lambda: out.read_bytes().count(b'"type":"put"') == 2, 10, "both are printed")
    agent.wait_watch("w", lambda w: w["sink_errors"] >= 3)
    assert len(hook.runs()) == 1
    disk.free()
    agent.wait_position("w", etcd35.client.revision())
    assert [e["path"] for e in all_events(hook)] == ["big", "bigger"]
    assert not any("?" in r.files for r in hook.ended())
    assert out.read_bytes().count(b'"type":"put"') == 2


def test_path_of_a_key_that_became_a_folder_meanwhile(start, hook, etcd35, prefix, tmp_path):
    """The batch that is tried again names the file where it is now."""
    root = prefix.encode()
    hook.plan(r2={"exit": 1, "gate": "g"})
    start(etcd35, prefix, mirror=str(tmp_path / "m"))
    hook.wait_ended(1)
    etcd35.client.put(root + b"k", b"1")
    hook.wait_input(2)
    etcd35.client.put(root + b"k/below", b"2")
    mirror_model.wait_equal(str(tmp_path / "m"), mirror_model.tree(root, {root + b"k": b"1", root + b"k/below": b"2"}))
    hook.open_gate("g")
    for run in hook.wait_event(prefix + "k/below") and hook.runs()[2:]:
        assert "?" not in run.files, f"a path that leads nowhere: {run.files['?']}"


def test_order_and_completeness_of_many_batches(start, hook, etcd35, prefix):
    hook.plan({"sleep_s": 0.01})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    revisions = [etcd35.client.put(prefix.encode() + b"%d" % (i % 7), b"%d" % i) for i in range(100)]
    agent.wait_position("w", revisions[-1], 25)
    assert [e["mod_revision"] for e in all_events(hook)] == revisions
    hook.assert_one_at_a_time()
    for run in hook.runs()[1:]:
        assert run.revision == run.events[-1]["mod_revision"]
    assert agent.watch("w")["batches"] >= len(hook.runs()) - 1


def test_what_came_while_the_hook_ran_is_one_batch(start, hook, etcd35, prefix):
    """The server sends it in one answer; one by one it would take a watch, and a tenth of a second, each."""
    hook.plan({}, r2={"gate": "gate"})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    revisions = [etcd35.client.put(prefix.encode() + b"first", b"")]
    hook.wait_input(2)
    revisions += [etcd35.client.put(prefix.encode() + b"%d" % (i % 7), b"") for i in range(60)]
    hook.open_gate()
    agent.wait_position("w", revisions[-1], 15)
    assert [e["mod_revision"] for e in all_events(hook)] == revisions
    # The answer that was cut off when the hook began may count as one of its own.
    assert len(hook.runs()) <= 5, f"{len(hook.runs()) - 2} batches: {[len(r.events) for r in hook.runs()]}"


def test_large_batch_to_a_slow_reader(start, hook, etcd35, prefix):
    """More than a pipe holds, and more than the agent may hold."""
    root = prefix.encode()
    big = {root + b"%d" % i: bytes([65 + i]) * 1_000_000 for i in range(4)}
    for key, data in big.items():
        etcd35.client.put(key, data)
    hook.plan({"slowly": 0.001})
    agent = start(etcd35, prefix)
    run = hook.wait_ended(1, 30)
    assert {k: value_of(e) for k, e in zip(big, run.events)} == big
    if not agent.runner.etchlet.is_sanitized:
        assert agent.peak_kb() < 4096


# Failing.


def test_failure_repeats_the_same_input(start, hook, etcd, prefix):
    root = prefix.encode()
    hook.plan(r1={"exit": 1}, r2={"exit": 2}, r4={"exit": 255}, r5={"kill": signal.SIGSEGV}, r6={"exit": 3})
    etcd.client.put(root + b"a", b"1")
    agent = start(etcd, prefix)
    third = hook.wait_ended(3)
    runs = hook.runs()
    assert runs[0].stdin == runs[1].stdin == third.stdin
    agent.wait_synced()
    revision = etcd.client.put(root + b"b", b"2")
    hook.wait_ended(7)
    runs = hook.runs()
    assert len({r.stdin for r in runs[3:7]}) == 1 and runs[3].keys == [prefix + "b"]
    assert {(r.revision, r.reason) for r in runs[3:7]} == {(revision, "event")}
    agent.wait_position("w", revision)
    found = agent.watch("w")
    assert found["sink_errors"] == 5
    assert len(hook.runs()) == 7


def test_position_waits_for_the_hook(start, runner, hook, etcd35, prefix):
    agent = start(etcd35, prefix, agent_options=IDLE)
    hook.wait_ended(1)
    agent.wait_synced()
    hook.plan({"exit": 1})
    revision = etcd35.client.put(prefix.encode() + b"a", b"1")
    hook.wait_ended(4)
    found = agent.watch("w")
    assert found["position"] < revision and found["sink_errors"] >= 2
    assert re.search("exit|status|failed|code", found["last_error"])
    # Idle as it is, the position does not move past it by probe either.
    wait.holds_for(lambda: agent.watch("w")["position"] < revision, 1.0, "the position stays")
    hook.plan({})
    agent.wait_position("w", revision)
    runner.wait_saved("w", revision)


def test_delays_between_retries_grow(start, hook, etcd35, prefix):
    hook.plan({"exit": 1})
    start(etcd35, prefix, agent_options={"backoff_min": "50ms", "backoff_max": "1s"})
    hook.wait_ended(7, 20)
    begins = [r.begin for r in hook.runs()]
    # Full jitter, so only bounds can be told: never more than the maximum, in sum more than a spin.
    gaps = [b - a for a, b in zip(begins, begins[1:])]
    assert max(gaps) < 1 + 0.6 and sum(gaps) > 0.15


def test_sigusr1_retries_at_once(start, hook, etcd35, prefix):
    hook.plan({"exit": 1})
    agent = start(etcd35, prefix, agent_options={"backoff_min": "30s", "backoff_max": "60s"})
    hook.wait_ended(1)
    seen = len(hook.runs())
    hook.plan({})
    agent.wait_status(lambda s: s["watches"][0]["sink_errors"] >= seen, 5, "the failure is known")
    agent.send_signal(signal.SIGUSR1)
    hook.wait_ended(seen + 1, 3)


def test_failing_hook_does_not_keep_its_own_mirror_old(runner, hook, etcd35, prefix, tmp_path):
    root = prefix.encode()
    folder = str(tmp_path / "m")
    hook.plan({"exit": 1})
    agent = runner.start(etcd35, Watch("w", root, mirror=folder, exec=hook.command))
    hook.wait_ended(1)
    pairs = {}
    for i in range(30):
        pairs[root + b"%d" % i] = value(b"%d" % i)
        etcd35.client.put(root + b"%d" % i, pairs[root + b"%d" % i])
    mirror_model.wait_equal(folder, mirror_model.tree(root, pairs), 10, agent)
    last = etcd35.client.delete(root + b"3")
    del pairs[root + b"3"]
    mirror_model.wait_equal(folder, mirror_model.tree(root, pairs), 10, agent)
    assert (agent.watch("w")["position"] or 0) < last
    hook.plan({})
    agent.wait_position("w", last, 15)
    assert hook.ended()[-1].stdin is not None


def test_hook_that_never_succeeds_holds_up_only_itself(runner, hook, etcd35, prefix, tmp_path):
    lines = str(tmp_path / "lines")
    hook.plan({"exit": 1})
    agent = runner.start(etcd35, Watch("bad", prefix + "a/", exec=hook.command),
                         Watch("good", prefix + "b/", print=lines))
    hook.wait_ended(2)
    for i in range(100):
        etcd35.client.put(f"{prefix}a/{i}".encode(), b"x" * 5000)
        last = etcd35.client.put(f"{prefix}b/{i}".encode(), b"y")
    agent.wait_position("good", last)
    # All of it comes when it succeeds, once.
    hook.plan({})
    agent.wait_position("bad", last - 1, 15)
    got = [e for r in hook.ended() for e in r.events if r.stdin is not None]
    assert {e["key"] for e in got} >= {f"{prefix}a/{i}" for i in range(100)}


def test_end_of_a_hook_is_noticed_at_once(start, hook, etcd35, prefix):
    """By its signal, not only by looking each second. A busy machine may be as slow as that once, not each time."""
    agent = start(etcd35, prefix)
    agent.wait_synced()
    took = []
    while not took or (took[-1] > 0.8 and len(took) < 8):
        number = len(hook.ended()) + 1
        begin = time.monotonic()
        revision = etcd35.client.put(prefix + "a", b"%d" % number)
        hook.wait_ended(number)
        agent.wait_position("w", revision)
        took.append(time.monotonic() - begin)
    assert took[-1] <= 0.8, took


def test_missing_program_is_told_and_tried_again(runner, hook, etcd35, prefix, tmp_path):
    missing = str(tmp_path / "not-there")
    folder = str(tmp_path / "m")
    etcd35.client.put(prefix.encode() + b"a", b"1")
    agent = runner.start(etcd35, Watch("w", prefix, exec=[missing, hook.directory], mirror=folder))
    found = agent.wait_watch("w", lambda w: w["last_error"], 10)
    assert missing in found["last_error"] or "not-there" in agent.tail()
    mirror_model.wait_equal(folder, mirror_model.Tree({b"a": b"1"}, set()), 5, agent)
    os.link(hook.program, missing)
    assert hook.wait_ended(1).keys == [prefix + "a"]


@pytest.mark.parametrize("kind", ["not executable", "a folder", "no such interpreter", "rubbish"])
def test_program_that_cannot_run_is_no_success(runner, hook, etcd35, prefix, tmp_path, kind):
    path = str(tmp_path / "program")
    if kind == "a folder":
        os.makedirs(path)
    else:
        with open(path, "wb") as f:
            f.write({"not executable": b"#!/bin/sh\nexit 0\n", "no such interpreter": b"#!/no/such\n",
                     "rubbish": b"\x7fELF rubbish"}[kind])
        os.chmod(path, 0o644 if kind == "not executable" else 0o755)
    agent = runner.start(etcd35, Watch("w", prefix, exec=[path]))
    agent.wait_watch("w", lambda w: w["sink_errors"] >= 2 and w["last_error"], 10)
    assert not agent.watch("w")["synced"]


def test_program_is_found_in_path_and_arguments_stay_whole(runner, hook, etcd35, prefix, tmp_path):
    os.makedirs(tmp_path / "bin")
    os.link(hook.program, tmp_path / "bin" / "the-hook")
    arguments = [hook.directory, "two words", "", "qu\"ote", "back\\slash", "$HOME", "*", "ä", "#no", ";", "'"]
    agent = runner.start(etcd35, Watch("w", prefix, exec=["the-hook", *arguments]),
                         env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    try:
        run = hook.wait_ended(1)
    except wait.Timeout:
        raise AssertionError(agent.tail()) from None
    assert run.argv[1:] == arguments


def test_percent_sign_in_arguments(runner, hook, etcd35, prefix):
    """As in every value of the file."""
    runner.start(etcd35, Watch("w", prefix, exec=Raw(f"{hook.program} {hook.directory} --id=%i 100%%")))
    assert hook.wait_ended(1).argv[2:] == ["--id=device-1", "100%"]


# Time.


def test_timeout_terms_then_kills_the_group(start, hook, etcd35, prefix):
    hook.plan(r1={"ignore_term": True, "fork": "group", "sleep_s": 60})
    agent = start(etcd35, prefix, exec_timeout="1s")
    first = hook.wait_input(1)
    second = hook.wait_begun(2, 12)
    took = second.begin - first.begin
    assert 5.5 < took < 8.5, f"SIGKILL is due 5 s after SIGTERM at 1 s; the next run came after {took:.1f} s"
    child = hook.runs()[0].child
    assert not is_alive(first.pid)
    wait.until(lambda: not is_alive(child["pid"]), 2, "the child of the hook is killed")
    hook.wait_ended(2)
    assert hook.runs()[1].stdin == first.stdin
    assert agent.watch("w")["sink_errors"] == 1


def test_timeout_terms_first(start, hook, etcd35, prefix):
    hook.plan(r1={"note_term": True, "sleep_s": 60, "term_exit": 0})
    start(etcd35, prefix, exec_timeout="500ms")
    second = hook.wait_begun(2, 8)
    first = hook.runs()[0]
    assert first.term is not None and 0.3 < first.term - first.begin < 2.0
    assert second.begin - first.term < 2.5, "it was waited for though it had ended"
    # Ending with 0 after the timeout is not a success: it took longer than it may.
    assert second.stdin == first.stdin


def test_child_that_stays_in_the_background_holds_nobody_up(start, hook, etcd35, prefix):
    """It keeps all descriptors open, output pipe included."""
    hook.plan(r1={"fork": "daemon", "child_s": 30}, r2={"fork": "group", "child_s": 30})
    agent = start(etcd35, prefix)
    children = []
    try:
        first = hook.wait_ended(1)
        children.append(first.child["pid"])
        revision = etcd35.client.put(prefix.encode() + b"a", b"1")
        second = hook.wait_ended(2, 5)
        children.append(second.child["pid"])
        agent.wait_position("w", revision, 5)
        assert is_alive(children[0]), "a daemon of the hook's is not the agent's to end"
        last = etcd35.client.put(prefix.encode() + b"b", b"1")
        hook.wait_ended(3, 5)
        agent.wait_position("w", last, 5)
        agent.stop(within_s=1.0)
    finally:
        for pid in children:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_daemons_do_not_use_up_descriptors(start, hook, etcd35, prefix):
    hook.plan({"fork": "daemon", "child_s": 30})
    agent = start(etcd35, prefix)
    try:
        hook.wait_ended(1)
        agent.wait_synced()
        for i in range(12):
            revision = etcd35.client.put(prefix.encode() + b"%d" % i, b"")
            agent.wait_position("w", revision, 5)
        assert len(agent.fds()) < 24, agent.fds()
    finally:
        for run in hook.runs():
            if run.child and is_alive(run.child["pid"]):
                os.kill(run.child["pid"], signal.SIGKILL)


@pytest.mark.parametrize("how", [{"no_read": True}, {"read_only": 100, "close": True}, {"no_read": True, "close": True},
                                 {"close": True, "sleep_s": 0.3}], ids=["reads nothing", "reads a little",
                                                                        "closes all", "closes and goes on"])
def test_input_need_not_be_read(start, hook, etcd35, prefix, how):
    root = prefix.encode()
    for i in range(3):
        etcd35.client.put(root + b"%d" % i, b"x" * 300_000)
    hook.plan(how)
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    revision = etcd35.client.put(root + b"k", b"y" * 300_000)
    hook.wait_ended(2)
    agent.wait_position("w", revision)
    assert len(hook.runs()) == 2 and agent.watch("w")["sink_errors"] == 0


# Output.


def test_output_is_logged_line_by_line(start, hook, etcd35, prefix):
    hook.plan(r1={"print": text((1, b"first line\nsecond "), (2, b"from stderr\n"), (1, b"\x1b[31mred\xff\n\n"),
                                (1, b"last without end"))})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_stderr("last without end")
    lines = agent.stderr().split(b"\n")
    assert sum(b"first line" in line for line in lines) == 1
    own = next(line for line in lines if b"first line" in line)
    assert b"w" in own.split(b"first line")[0], "the line does not tell whose it is"
    assert not any(b"first line" in line and b"second" in line for line in lines)
    assert b"\\x1b[31mred\\xff" in agent.stderr().lower()
    assert b"\x1b" not in agent.stderr()
    assert not agent.out.bytes(), "a hook's output is not for standard output"


def test_output_is_capped(start, hook, etcd35, prefix):
    hook.plan(r1={"flood": 20_000}, r2={"print": text((1, b"y" * 100_000 + b"\nafter the long one\n"))})
    agent = start(etcd35, prefix)
    hook.wait_ended(1, 20)
    agent.wait_synced()
    assert len(agent.stderr()) < 1_000_000, "20 MB of output went to the log"
    before = len(agent.stderr())
    etcd35.client.put(prefix.encode() + b"a", b"")
    hook.wait_ended(2)
    agent.wait_watch("w", lambda w: w["batches"] >= 1 and w["sink_errors"] == 0)
    wait.until(lambda: len(agent.stderr()) > before, 5, "something of the second run is logged")
    assert max(map(len, agent.stderr().split(b"\n"))) < 2000
    if not agent.runner.etchlet.is_sanitized:
        assert agent.peak_kb() < 4096


# Settling.


def test_settle_gathers(start, hook, etcd35, prefix):
    agent = start(etcd35, prefix, settle="700ms")
    hook.wait_ended(1)
    agent.wait_synced()
    begin = [etcd35.client.put(prefix.encode() + b"%d" % i, b"") for i in range(20)]
    run = hook.wait_ended(2)
    assert [e["mod_revision"] for e in run.events] == begin
    assert run.revision == begin[-1]
    agent.wait_position("w", begin[-1])
    assert len(hook.runs()) == 2


def test_settle_is_counted_from_the_first_event(start, hook, etcd35, prefix):
    """A stream that never pauses is not put off for ever."""
    agent = start(etcd35, prefix, settle="300ms")
    hook.wait_ended(1)
    agent.wait_synced()
    done = []

    def step():
        done.append(etcd35.client.put(prefix.encode() + b"k", b""))
        return len(hook.runs()) >= 4
    wait.until(step, 10, "batches while events go on", 0.03)
    agent.wait_position("w", done[-1])
    assert [e["mod_revision"] for e in all_events(hook)] == done


# Crash and stop.


def test_no_event_is_missed_across_kills(start, runner, hook, etcd, prefix):
    chance = random.Random(5)
    hook.plan({"sleep_s": 0.02})
    agent = start(etcd, prefix)
    hook.wait_ended(1)
    wanted = []
    for i in range(7):
        for _ in range(chance.randrange(3, 25)):
            wanted.append(etcd.client.put(prefix.encode() + b"%d" % chance.randrange(5), b"%d" % i))
        if chance.random() < 0.5:
            hook.wait_begun(len(hook.runs()) + 1, 10)
        agent.kill()
        agent = runner.start()
    agent.wait_position("w", wanted[-1], 20)
    seen = [e["mod_revision"] for e in all_events(hook)]
    listed = [r.revision for r in hook.ended() if r.reason != "event"]
    # Each was in a batch that succeeded, or in a listing, before any later one was taken for processed.
    first = listed[0]
    assert set(seen) >= {r for r in wanted if r > max(listed)} and listed[-1] >= first
    order = []
    for revision in seen:
        if revision not in order:
            order.append(revision)
    assert order == sorted(order)


def test_exactly_once_across_clean_stops(start, runner, hook, etcd35, prefix):
    hook.plan({"sleep_s": 0.01})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    wanted = []
    for _ in range(5):
        for _ in range(20):
            wanted.append(etcd35.client.put(prefix.encode() + b"k", b""))
        agent.stop()
        agent = runner.start()
    agent.wait_position("w", wanted[-1], 15)
    seen = [e["mod_revision"] for r in hook.ended() for e in r.events]
    assert seen == wanted


def test_stop_gives_a_running_hook_two_seconds(start, runner, hook, etcd35, prefix):
    hook.plan({}, r2={"sleep_s": 1.0})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    revision = etcd35.client.put(prefix.encode() + b"a", b"")
    hook.wait_input(2)
    agent.stop(within_s=2.0)
    assert hook.runs()[1].end is not None, "it was not let end by itself"
    assert runner.positions()["w"] == revision
    agent = runner.start()
    agent.wait_synced()
    last = etcd35.client.put(prefix.encode() + b"b", b"")
    agent.wait_position("w", last)
    assert hook.runs()[2].keys == [prefix + "b"], "a batch that had succeeded came again"


def test_stop_terms_a_hook_after_two_seconds_and_repeats_it(start, runner, hook, etcd35, prefix):
    hook.plan({}, r2={"note_term": True, "sleep_s": 60})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    etcd35.client.put(prefix.encode() + b"a", b"")
    hook.wait_input(2)
    begin = time.monotonic()
    agent.stop(within_s=3.5)
    run = hook.runs()[1]
    assert 1.7 < run.term - begin < 3.0
    runner.start()
    assert hook.wait_ended(3).stdin == run.stdin


def test_stop_kills_a_hook_that_will_not_end(start, hook, etcd35, prefix):
    hook.plan(r1={"ignore_term": True, "fork": "group", "sleep_s": 60})
    agent = start(etcd35, prefix)
    run = hook.wait_input(1)
    wait.until(lambda: hook.runs()[0].child, 5, "its child")
    agent.stop(within_s=7.0)
    assert not is_alive(run.pid)
    wait.until(lambda: not is_alive(hook.runs()[0].child["pid"]), 2, "its child is killed too")


def test_stop_without_a_running_hook_takes_a_second(start, hook, etcd35, prefix):
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    agent.stop(within_s=1.0)
    # Neither while one waits to be tried again, nor while a batch settles.
    hook.plan({"exit": 1})
    agent = agent.runner.start(etcd35, Watch("w", prefix, exec=hook.command, settle="30s"),
                               backoff_min="30s", backoff_max="60s")
    wait.until(lambda: agent.watch("w"), 10, "it runs")
    etcd35.client.put(prefix.encode() + b"a", b"")
    agent.wait_watch("w", lambda w: w["events"] >= 1)
    agent.stop(within_s=1.0)


def test_kill_leaves_no_hook_that_overlaps_the_next(start, runner, hook, etcd35, prefix):
    """After a crash the old run may still go on; what matters is that the batch comes again."""
    hook.plan({}, r2={"sleep_s": 1.0})
    agent = start(etcd35, prefix)
    hook.wait_ended(1)
    agent.wait_synced()
    runner.wait_saved("w", 1)
    etcd35.client.put(prefix.encode() + b"a", b"")
    hook.wait_input(2)
    agent.kill()
    runner.start()
    assert hook.wait_ended(3).keys == [prefix + "a"]


# Meanwhile.


def test_agent_lives_while_the_hook_runs(start, hook, servers):
    """It probes, answers status, follows other watches, and reconnects."""
    fake = servers.fake()
    fake.put(b"k/a", b"1")
    hook.plan(r1={"gate": "gate"})
    agent = start(fake, "k/", agent_options={"probe_interval": "100ms", "idle_after": "60s"})
    hook.wait_input(1)
    agent.wait_status(lambda s: s["connected"] or s["probe"], 5, "it answers")
    probes = len(fake.probes())
    wait.until(lambda: len(fake.probes()) >= probes + 5, 5, "probes while the hook runs")
    fake.cut()
    connections = len(fake.connections)
    fake.wait_connections(connections + 1, 5)
    probes = len(fake.probes())
    wait.until(lambda: len(fake.probes()) >= probes + 3, 5, "probes on the new connection")
    assert len(hook.runs()) == 1, "the hook was started anew by a new connection"
    assert not agent.watch("w")["synced"]
    hook.open_gate()
    agent.wait_synced()
    assert len(hook.runs()) == 1


def test_flood_while_the_hook_runs_is_neither_queued_nor_lost(start, hook, servers, etchlet):
    etcd = servers.etcd()
    hook.plan(r2={"gate": "gate"})
    agent = start(etcd, "k/", words=["--log-level=warn"])
    hook.wait_ended(1)
    agent.wait_synced()
    wanted = [etcd.client.put(b"k/0", b"")]
    hook.wait_input(2)
    before = agent.rss_kb()
    wanted += [etcd.client.put(b"k/%d" % (i % 50), b"z" * 50_000) for i in range(80)]
    agent.wait_status(lambda s: True, 5, "it answers")
    if not etchlet.is_sanitized:
        assert agent.rss_kb() - before < 512, "4 MB of events wait in memory"
    hook.open_gate()
    agent.wait_position("w", wanted[-1], 20)
    assert [e["mod_revision"] for e in all_events(hook)] == wanted
    hook.assert_one_at_a_time()


@pytest.mark.parametrize("reason", ["compacted", "rollback", "cluster"])
def test_reason_of_a_full_synchronisation(start, runner, hook, servers, reason):
    etcd = servers.etcd()
    etcd.client.put(b"k/a", b"1")
    snapshot = etcd.snapshot()
    last = etcd.client.put(b"k/b", b"1")
    agent = start(etcd, "k/")
    hook.wait_ended(1)
    agent.wait_position("w", last)
    agent.stop()
    if reason == "compacted":
        etcd.client.put(b"k/c", b"1")
        etcd.client.delete(b"k/a")
        etcd.client.put(b"other", b"1")
        etcd.client.compact(etcd.client.revision())
    else:
        etcd.terminate()
        if reason == "rollback":
            etcd.restore(snapshot)
        else:
            etcd.wipe("another")
        etcd.start()
    agent = runner.start()
    run = hook.wait_ended(2, 20)
    assert run.reason == reason and run.lines[0]["reason"] == reason
    assert run.keys == {"compacted": ["k/b", "k/c"], "rollback": ["k/a"], "cluster": []}[reason]
    assert run.revision == run.lines[0]["revision"] == run.lines[-1]["revision"]
    assert ("compact_revision" in run.lines[0]) == (reason == "compacted")


def test_listing_supersedes_a_batch_that_fails(start, hook, servers):
    """Compacted while a hook fails: what it missed comes as the listing, and is not lost."""
    etcd = servers.etcd()
    proxy = servers.proxy(etcd)
    etcd.client.put(b"k/a", b"1")
    agent = start(proxy, "k/")
    hook.wait_ended(1)
    agent.wait_synced()
    hook.plan({"exit": 1})
    etcd.client.put(b"k/b", b"2")
    hook.wait_ended(3)
    etcd.client.put(b"k/c", b"3")
    etcd.client.delete(b"k/a")
    etcd.client.compact(etcd.client.revision())
    proxy.cut()
    hook.plan({})
    last = etcd.client.put(b"k/d", b"4")
    agent.wait_position("w", last, 20)
    # Its input is the history, or the listing in its place: either way it ends with what there is.
    held = {}
    for run in hook.runs():
        if run.number > 1 and run.end is not None and (run.number > 3):
            for line in run.lines:
                if line["type"] == "sync":
                    held = {}
                elif line["type"] == "put":
                    held[line["key"]] = line["value"]
                elif line["type"] == "delete":
                    held.pop(line["key"], None)
    assert set(held) - {"k/a"} == {"k/b", "k/c", "k/d"} and "k/a" not in held


def test_once_ends_when_the_hook_is_done(runner, hook, etcd35, prefix):
    etcd35.client.put(prefix.encode() + b"a", b"1")
    hook.plan(r1={"exit": 1}, r2={"sleep_s": 0.3})
    runner.configure(etcd35, Watch("w", prefix, exec=hook.command))
    done = runner.once()
    assert done.returncode == 0, done.stderr
    assert [r.end is not None for r in hook.runs()] == [True, True]
    # Nothing has happened since: it has nothing to do.
    assert runner.once().returncode == 0
    assert len(hook.runs()) == 2
    etcd35.client.put(prefix.encode() + b"b", b"1")
    hook.plan({"exit": 1})
    done = runner.once("--timeout=800ms")
    assert done.returncode == 1 and hook.runs()[-1].keys == [prefix + "b"]

# SPDX-License-Identifier: Apache-2.0
"""`etchlet watch`: the lines it prints, byte for byte, and the commands it runs."""

import os
import subprocess

import pytest

from harness import proto, wait
from harness.agent import Reader, delete_line, key_of, put_line, value_of
from harness.etcd import tools
from harness.process import die_with_parent, kill_and_reap
from harness.proto import PUT, Event, KeyValue


def start(etchlet, etcd, *words, **options):
    """A watch that begins after what is there, so that nothing depends on when it connects."""
    return etchlet.watch(etcd, f"--rev={etcd.client.revision() + 1}", *words, **options)


# JSON lines.


def test_put_and_delete_are_exact(etchlet, etcd, prefix):
    key = prefix.encode() + b"a"
    agent = start(etchlet, etcd, "--prefix", prefix)
    etcd.client.put(key, b"1")
    first = etcd.client.get(key)
    etcd.client.put(key, b"2", etcd.client.grant(600))
    second = etcd.client.get(key)
    deleted = etcd.client.delete(key)
    assert agent.wait_lines(3) == [put_line(first), put_line(second), delete_line(key, deleted)]
    assert agent.stderr().count(b"\n") <= 3


def test_prev_kv_stands_last(etchlet, etcd, prefix):
    key = prefix.encode()
    etcd.client.put(key, b"0")
    agent = start(etchlet, etcd, "--prev-kv", prefix)
    etcd.client.put(key, b"\xff")
    first = etcd.client.get(key)
    etcd.client.put(key, b"b" * 16385)
    second = etcd.client.get(key)
    deleted = etcd.client.delete(key)
    etcd.client.put(key, b"new")
    third = etcd.client.get(key)
    assert agent.wait_lines(4) == [
        put_line(first, prev=b"0"), put_line(second, prev=b"\xff"),
        delete_line(key, deleted, prev=b"b" * 16385), put_line(third)]


def test_empty_previous_value_is_a_previous_value(etchlet, etcd, prefix):
    key = prefix.encode()
    etcd.client.put(key, b"")
    agent = start(etchlet, etcd, "--prev-kv", prefix)
    etcd.client.put(key, b"1")
    assert agent.wait_lines(1) == [put_line(etcd.client.get(key), prev=b"")]


def test_events_of_one_transaction_come_together(etchlet, etcd, prefix):
    names = [prefix.encode() + b"%03d" % i for i in range(100)]
    etcd.client.put(names[50], b"old")
    agent = start(etchlet, etcd, "--prefix", prefix)
    revision = etcd.client.txn([("delete", n) if i == 50 else ("put", n, b"v%d" % i)
                                for i, n in enumerate(names)])
    events = agent.wait_events(100)
    assert {e["mod_revision"] for e in events} == {revision}
    assert sorted(key_of(e) for e in events) == names
    assert [e["type"] for e in events].count("delete") == 1


def test_range_end_is_exclusive(etchlet, etcd, prefix):
    agent = start(etchlet, etcd, prefix + "b", prefix + "d")
    for name in "abcde":
        etcd.client.put((prefix + name).encode(), b"v")
    etcd.client.put((prefix + "b").encode(), b"end")
    assert [e["key"] for e in agent.wait_events(3)] == [prefix + "b", prefix + "c", prefix + "b"]


def test_single_key_is_not_a_prefix(etchlet, etcd, prefix):
    agent = start(etchlet, etcd, prefix + "a")
    etcd.client.put((prefix + "ab").encode(), b"v")
    etcd.client.put((prefix + "a").encode(), b"v")
    assert agent.wait_events(1)[0]["key"] == prefix + "a"


@pytest.mark.parametrize("key", [b"", b"\xff", b"a\xff"])
def test_prefix_of_everything_and_of_ff(etchlet, servers, key):
    etcd = servers.etcd("3.5")
    agent = start(etchlet, etcd, "--prefix", key)
    names = [b"\x00", b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"a\xff\x00"]
    for name in names:
        etcd.client.put(name, b"")
    expected = [n for n in names if n.startswith(key)]
    assert [key_of(e) for e in agent.wait_events(len(expected))] == expected


@pytest.mark.parametrize("length", [0, 1, 16384, 16385, 16386, 65535, 65536, 300_000, 1_500_000])
def test_values_of_any_length_arrive_whole(etchlet, etcd, prefix, length):
    key = prefix.encode()
    value = bytes(i * 31 % 251 for i in range(1000)) * (length // 1000 + 1)
    value = value[:length] if length > 16384 else b"t" * length
    agent = start(etchlet, etcd, prefix)
    etcd.client.put(key, value)
    etcd.client.put(key, b"after")
    lines = agent.wait_lines(2, 20)
    assert value_of(agent.events()[0]) == value
    assert lines[0] == put_line(KeyValue(key, value, *revisions(agent.events()[0]), 1))
    assert agent.events()[1]["value"] == "after"


def revisions(event):
    return event["create_revision"], event["mod_revision"]


def test_rev_prints_the_past_in_order(etchlet, etcd, prefix):
    first = etcd.client.put_many((prefix.encode() + b"%d" % (i % 7), b"%d" % i)
                                 for i in range(2500)) - 2499
    agent = etchlet.watch(etcd, "--prefix", f"--rev={first}", prefix)
    events = agent.wait_events(2500, 20)
    assert [e["mod_revision"] for e in events] == list(range(first, first + 2500))
    assert sorted(int(e["value"]) for e in events) == list(range(2500))


def test_rev_in_the_future_waits_for_it(etchlet, servers, version):
    etcd = servers.etcd(version)
    wanted = etcd.client.revision() + 5
    agent = etchlet.watch(etcd, f"--rev={wanted}", "a")
    for _ in range(6):
        last = etcd.client.put(b"a", b"v")
    assert [e["mod_revision"] for e in agent.wait_events(2)] == [wanted, last]


def test_key_longer_than_the_limit_holds_nothing_up(etchlet, etcd, prefix):
    long_key = prefix.encode() + b"k" * 4096
    fit_key = prefix.encode() + b"k" * (4096 - len(prefix))
    agent = start(etchlet, etcd, "--prefix", prefix)
    etcd.client.put(long_key, b"1")
    etcd.client.put(fit_key, b"2")
    etcd.client.delete(long_key)
    etcd.client.put(prefix.encode(), b"3")
    assert [key_of(e) for e in agent.wait_events(2)] == [fit_key, prefix.encode()]
    agent.wait_stderr(r"key.*(long|4,?096)|(long|large).*key")


def test_value_longer_than_max_value_holds_nothing_up(etchlet, etcd, prefix, state):
    key = prefix.encode()
    agent = start(etchlet, etcd, "--max-value=64K", "--state", state, prefix)
    etcd.client.put(key, b"x" * 65537)
    etcd.client.put(key, b"y" * 65536)
    last = etcd.client.put(key, b"z" * 65537)
    assert value_of(agent.wait_events(1)[0]) == b"y" * 65536
    agent.wait_stderr(r"value")
    etcd.client.put(key, b"end")
    assert agent.wait_event(lambda e: e["mod_revision"] > last)["value"] == "end"
    assert len(agent.events()) == 2


def test_event_of_unknown_type_holds_nothing_up(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "")
    watch = fake.wait_watches()
    watch.events([Event(7, KeyValue(b"odd", b"?", 5, 5, 1))], header=fake.header(5))
    watch.events([Event(PUT, KeyValue(b"even", b"!", 6, 6, 1))], header=fake.header(6))
    assert agent.wait_events(1)[0]["key"] == "even"
    agent.wait_stderr("unknown|type")
    agent.stop()
    assert etchlet.position(state) == 6


def test_event_of_unknown_type_moves_the_position(etchlet, servers, state):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "")
    fake.wait_watches().events([Event(7, KeyValue(b"odd", b"?", 5, 5, 1))], header=fake.header(5))
    agent.wait_stderr("unknown|type")
    agent.stop()
    assert etchlet.position(state) == 5


def test_unknown_fields_are_skipped(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--prefix", "")
    watch = fake.wait_watches()
    extra = proto.encode((99, b"x" * 70000), (98, 7)) + proto.varint(97 << 3 | 1) + b"12345678" \
        + proto.varint(96 << 3 | 5) + b"1234"
    event = proto.encode((1, 0), (2, KeyValue(b"a", b"1", 2, 2, 1).encode() + extra), (50, 5)) + extra
    watch.events([event], extra=extra)
    watch.events([Event(PUT, KeyValue(b"b", b"2", 3, 3, 1))])
    assert agent.wait_lines(2) == [put_line(KeyValue(b"a", b"1", 2, 2, 1)),
                                   put_line(KeyValue(b"b", b"2", 3, 3, 1))]


def test_fields_may_stand_in_any_order(etchlet, servers):
    """Protobuf does not promise the order in which Go's encoder happens to write."""
    fake = servers.fake()
    agent = etchlet.watch(fake, "--prefix", "")
    watch = fake.wait_watches()
    kv = proto.encode((6, 4), (4, 3), (3, 9), (2, 8), (1, b"a")) + proto.encode((5, b"v"))
    response = proto.encode((11, proto.encode((2, kv), (1, 0)))) + proto.encode(
        (2, watch.id), (1, fake.header(9)))
    watch.call.send_message(response)
    assert agent.wait_lines(1) == [put_line(KeyValue(b"a", b"v", 8, 9, 3, 4))]


def test_value_before_its_key_is_printed_or_refused_and_never_lost_silently(etchlet, servers, state):
    """Legal in protobuf, though no etcd sends it: a value that streams cannot wait for its key."""
    fake = servers.fake()
    agent = etchlet.watch(fake, "--state", state, "--prefix", "")
    watch = fake.wait_watches()
    etchlet.wait_position(state, 1)
    kv = proto.encode((5, b"v"), (1, b"a"), (2, 2), (3, 2), (4, 1))
    watch.call.send_message(proto.watch_response(
        header=fake.header(2), watch_id=watch.id, events=[proto.encode((1, 0), (2, kv))]))
    wait.until(lambda: agent.out.lines() or len(fake.watches) > 1, 10, "printed, or refused")
    if agent.out.lines():
        assert agent.out.lines() == [put_line(KeyValue(b"a", b"v", 2, 2, 1))]
    else:
        agent.stop()
        assert etchlet.position(state) == 1 and agent.stderr().count(b"\n") > 1


def test_progress_lines_only_with_progress_notify(etchlet, servers, version):
    etcd = servers.etcd(version, flags={"experimental-watch-progress-notify-interval": "300ms"})
    etcd.client.put(b"other", b"v")
    told = start(etchlet, etcd, "--progress-notify", "a")
    quiet = start(etchlet, etcd, "a")
    revision = etcd.client.put(b"other", b"v")
    told.wait_event(lambda e: e == {"type": "progress", "revision": revision})
    assert f'{{"type":"progress","revision":{revision}}}'.encode() in told.out.lines()
    etcd.client.put(b"a", b"v")
    assert quiet.wait_events(1)[0]["type"] == "put"
    assert all(e["type"] != "progress" for e in quiet.events())


# The simple format: what etcdctl prints.


def watch_of_etcdctl(etcd, *arguments):
    process = subprocess.Popen(
        [tools(etcd.version, "etcdctl"), f"--endpoints={etcd.url}", "watch", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=etcd.ctl_env(), preexec_fn=die_with_parent)
    return process, Reader(process.stdout.fileno())


def same_output(etchlet, etcd, act, last, *arguments, timeout_s=10):
    """Runs both watches over what act() writes, until last is seen; gives the common output."""
    revision = f"--rev={etcd.client.revision() + 1}"
    process, theirs = watch_of_etcdctl(etcd, revision, *arguments)
    try:
        agent = etchlet.watch(etcd, revision, *arguments, json_lines=False)
        act()
        expected = theirs.wait_for(lambda d: d.endswith(last) and d, timeout_s, "etcdctl's output")
        agent.out.wait_for(lambda d: len(d) >= len(expected), timeout_s, "as much output")
        assert agent.out.bytes() == expected
        return expected
    finally:
        kill_and_reap(process)
        process.stderr.close()


def test_simple_format_is_that_of_etcdctl(etchlet, etcd, prefix):
    def act():
        client = etcd.client
        client.put(prefix.encode() + b"a", b"1")
        client.put(prefix.encode() + b"bin\xff\n", b"\x00\xff\n")
        client.put(prefix.encode() + b"empty", b"")
        client.delete(prefix.encode() + b"a")
        client.put(prefix.encode() + b"big", b"B" * 20000)
        client.put(prefix.encode() + b"z", b"end")
    out = same_output(etchlet, etcd, act, b"z\nend\n", "--prefix", prefix)
    assert out.startswith(b"PUT\n" + prefix.encode() + b"a\n1\n")


def test_simple_format_with_prev_kv_is_that_of_etcdctl(etchlet, etcd, prefix):
    def act():
        client = etcd.client
        for value in (b"1", b"2"):
            client.put(prefix.encode(), value)
        client.delete(prefix.encode())
        client.put(prefix.encode() + b"z", b"end")
    same_output(etchlet, etcd, act, b"z\nend\n", "--prefix", "--prev-kv", prefix)


def test_simple_format_of_progress_is_that_of_etcdctl(etchlet, servers):
    etcd = servers.etcd("3.5", flags={"experimental-watch-progress-notify-interval": "300ms"})
    agent = start(etchlet, etcd, "--progress-notify", "a", json_lines=False)
    revision = etcd.client.put(b"other", b"v")
    agent.out.wait_for(lambda d: b"progress notify: %d\n" % revision in d, 10, "progress")


def test_simple_format_keeps_sync_lines_off_standard_output(etchlet, servers, state):
    etcd = servers.etcd("3.5")
    agent = etchlet.watch(etcd, "--state", state, "--prefix", "k")
    etcd.client.put(b"k1", b"v")
    etchlet.wait_position(state, 1)
    agent.stop()
    for i in range(10):
        etcd.client.put(b"k%d" % i, b"w")
    etcd.client.compact(etcd.client.revision())
    agent = etchlet.watch(etcd, "--state", state, "--prefix", "k", json_lines=False)
    expected = b"".join(b"PUT\nk%d\nw\n" % i for i in range(10))
    agent.out.wait_for(lambda d: len(d) >= len(expected), 10, "the listing")
    etcd.client.put(b"k1", b"x")
    expected += b"PUT\nk1\nx\n"
    agent.out.wait_for(lambda d: len(d) >= len(expected), 10, "the event after it")
    assert agent.out.bytes() == expected
    agent.wait_stderr("compacted")


# -- CMD


SHOW = ["--", "sh", "-c", "env | grep ^ETCD_WATCH_ | sort"]


def same_commands(etchlet, etcd, prefix, steps):
    """
    One event at a time: etcdctl prints all events of a response before it runs the commands, and
    shows them the revision of its header.
    """
    words = [f"--rev={etcd.client.revision() + 1}", "--prefix", prefix, *SHOW]
    process, theirs = watch_of_etcdctl(etcd, *words)
    try:
        agent = etchlet.watch(etcd, *words, json_lines=False)
        for number, step in enumerate(steps, 1):
            step()
            for output in (theirs, agent.out):
                output.wait_for(lambda d, n=number: d.endswith(b'"\n') and
                                d.count(b"ETCD_WATCH_VALUE=") == n, 10, "the command's output")
        assert agent.out.bytes() == theirs.bytes()
    finally:
        kill_and_reap(process)
        process.stderr.close()


@pytest.mark.parametrize("value", [
    b"plain", b"", b"two words", b'quote " backslash \\', b"\x00\x01\x07\x08\x0c\n\r\t\x0b\x1b\x7f",
    "grüße ☃ 𝄞".encode(), b"\xff\xfe cut \xc3", b"$HOME `id` 'x' %s"])
def test_command_sees_what_etcdctl_shows_it(etchlet, etcd35, prefix, value):
    key = prefix.encode() + value
    same_commands(etchlet, etcd35, prefix, [
        lambda: etcd35.client.put(key, value), lambda: etcd35.client.delete(key)])


@pytest.mark.parametrize("text", ["\u00ad", "\u200b", "\u3000", "\u2028", "\ufeff", "\ue000",
                                  "\U000e0001", "\u0378", "\ufffd", "\u0301"])
def test_command_sees_characters_that_cannot_be_printed_as_etcdctl_shows_them(
        etchlet, etcd35, prefix, text):
    same_commands(etchlet, etcd35, prefix, [
        lambda: etcd35.client.put(prefix.encode(), b"<" + text.encode() + b">")])


def test_command_runs_once_per_event_in_order(etchlet, etcd, prefix):
    agent = start(etchlet, etcd, "--prefix", prefix, "--", "sh", "-c",
                  'echo "$ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_VALUE"')
    revision = etcd.client.txn([("put", prefix.encode() + b"%d" % i, b"v") for i in range(10)])
    etcd.client.put(prefix.encode() + b"z", b"end")
    end = b'%d "PUT" "end"\n' % (revision + 1)
    out = agent.out.wait_for(lambda d: d.endswith(end) and d, 10, "the last command")
    seen = [line for line in out.splitlines() if line.endswith(b'"v"')]
    assert seen == [b'%d "PUT" "v"' % revision] * 10
    assert sum(line.startswith(b"{") for line in out.splitlines()) == 11


def test_command_that_fails_is_tried_again_and_holds_the_position(etchlet, etcd, prefix, state,
                                                                  tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    agent = start(etchlet, etcd, "--state", state, "--state-interval=1s", "--prefix", prefix, "--",
                  "sh", "-c", f'echo "$ETCD_WATCH_VALUE" >> {log}; test -e {gate}')
    first = etcd.client.put(prefix.encode() + b"a", b"1")
    second = etcd.client.put(prefix.encode() + b"b", b"2")
    wait.until(lambda: log.exists() and log.read_text().count('"1"\n') >= 3, 10, "three attempts")
    assert '"2"' not in log.read_text()
    assert (etchlet.position(state) or 0) < first
    gate.touch()
    wait.until(lambda: '"2"' in log.read_text(), 10, "the second event")
    etchlet.wait_position(state, second)
    assert log.read_text().count('"2"') == 1
    # Printed once, whatever the command did.
    assert [e["value"] for e in agent.events()] == ["1", "2"]


def test_event_whose_command_failed_is_given_again_after_a_restart(etchlet, etcd, prefix, state,
                                                                   tmp_path):
    log = tmp_path / "log"
    words = ["--state", state, "--prefix", prefix, "--", "sh", "-c"]
    agent = start(etchlet, etcd, *words, f'test "$ETCD_WATCH_VALUE" = \'"1"\' || {{ touch {log}; false; }}')
    etcd.client.put(prefix.encode() + b"a", b"1")
    revision = etcd.client.put(prefix.encode() + b"a", b"2")
    wait.until(log.exists, 10, "the second command failed")
    agent.stop(within_s=7)
    assert etchlet.position(state) == revision - 1
    again = etchlet.watch(etcd, *words, 'echo "again $ETCD_WATCH_VALUE"')
    out = again.out.wait_for(lambda d: b'again "2"\n' in d and d, 10, "the event once more")
    assert b'"1"' not in out


def test_stop_gives_a_running_command_time_to_end(etchlet, etcd, prefix, state, tmp_path):
    begun, done = tmp_path / "begun", tmp_path / "done"
    agent = start(etchlet, etcd, "--state", state, prefix, "--", "sh", "-c",
                  f"touch {begun}; sleep 1; touch {done}")
    revision = etcd.client.put(prefix.encode(), b"1")
    wait.until(begun.exists, 10, "the command runs")
    agent.stop(within_s=7)
    assert done.exists()
    assert etchlet.position(state) == revision


def test_stop_ends_a_command_that_does_not_end(etchlet, etcd, prefix, tmp_path):
    begun = tmp_path / "begun"
    agent = start(etchlet, etcd, prefix, "--", "sh", "-c",
                  f"trap '' TERM; echo $$ > {begun}.tmp; mv {begun}.tmp {begun}; "
                  "while :; do sleep 0.1; done")
    etcd.client.put(prefix.encode(), b"1")
    wait.until(begun.exists, 10, "the command runs")
    pid = int(begun.read_text())
    agent.stop(within_s=7)
    wait.until(lambda: not os.path.exists(f"/proc/{pid}"), 2, "the command is gone")


def test_command_that_does_not_exist_is_told_and_retried(etchlet, etcd, prefix):
    agent = start(etchlet, etcd, prefix, "--", "/nonexistent/program")
    etcd.client.put(prefix.encode(), b"1")
    agent.wait_stderr("/nonexistent/program")
    assert agent.is_running

# SPDX-License-Identifier: Apache-2.0
"""`etchlet get`: listings, formats, and the exit status that says whether a listing is whole."""

import base64
import json
import re
import time

import pytest

from harness.agent import parse, put_line, value_of
from harness.etcd_client import GrpcError
from harness.fake_etcd import COMPACTED, MAX_STREAMS, OUT_OF_RANGE, PERMISSION_DENIED, UNAVAILABLE, \
    UNIMPLEMENTED


def lines(done):
    assert done.stdout == b"" or done.stdout.endswith(b"\n")
    return done.stdout.split(b"\n")[:-1]


def keys(done):
    return [parse(line)["key"] for line in lines(done)]


def same_as_etcdctl(etchlet, etcd, *arguments):
    done = etchlet.get(etcd, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == etcd.ctl("get", *arguments).stdout
    return done.stdout


def test_single_key(etchlet, etcd, prefix):
    etcd.client.put(prefix.encode() + b"a", b"1")
    etcd.client.put(prefix.encode() + b"ab", b"2")
    assert same_as_etcdctl(etchlet, etcd, prefix + "a") == prefix.encode() + b"a\n1\n"


def test_missing_key_prints_nothing_and_is_no_failure(etchlet, etcd, prefix):
    done = etchlet.get(etcd, prefix + "nothing")
    assert (done.returncode, done.stdout) == (0, b"")


def test_prefix(etchlet, etcd, prefix):
    for name in (b"b", b"a", b"a/c", b""):
        etcd.client.put(prefix.encode() + name, name)
    etcd.client.put(prefix.encode()[:-1] + b"0", b"beyond")
    out = same_as_etcdctl(etchlet, etcd, "--prefix", prefix)
    assert b"beyond" not in out and out.count(b"\n") == 8


def test_range_end_is_exclusive(etchlet, etcd, prefix):
    for name in "abcd":
        etcd.client.put((prefix + name).encode(), b"v")
    out = same_as_etcdctl(etchlet, etcd, prefix + "b", prefix + "d")
    assert out == f"{prefix}b\nv\n{prefix}c\nv\n".encode()


def test_empty_key_with_prefix_is_all_keys(etchlet, servers, version):
    etcd = servers.etcd(version)
    for key in (b"\x00", b"a", b"\xff\xff"):
        etcd.client.put(key, b"v")
    out = same_as_etcdctl(etchlet, etcd, "--prefix", "")
    assert out == b"\x00\nv\na\nv\n\xff\xff\nv\n"


@pytest.mark.parametrize("key", [b"a\xff", b"\xff", b"\xff\xff"])
def test_prefix_that_ends_in_ff(etchlet, servers, key):
    etcd = servers.etcd("3.5")
    everything = [b"a", b"a\xfe", b"a\xff", b"a\xff\xff", b"b", b"\xfe", b"\xff", b"\xff\x00",
                  b"\xff\xff", b"\xff\xff\x01"]
    for name in everything:
        etcd.client.put(name, b"v")
    done = etchlet.get(etcd, "--prefix", key)
    expected = [name for name in sorted(everything) if name.startswith(key)]
    assert (done.returncode, done.stdout) == (0, b"".join(n + b"\nv\n" for n in expected))


def test_rev_shows_the_past(etchlet, etcd, prefix):
    key = prefix.encode()
    old = etcd.client.put(key, b"old")
    etcd.client.put(key, b"new")
    assert same_as_etcdctl(etchlet, etcd, "--rev", str(old), prefix) == key + b"\nold\n"


def test_rev_in_the_future_fails_with_the_reason(etchlet, etcd, prefix):
    done = etchlet.get(etcd, f"--rev={etcd.client.revision() + 1000}", prefix)
    assert done.returncode == 1 and b"future" in done.stderr


def test_json_line_is_exact(etchlet, etcd, prefix):
    key = prefix.encode() + b"a"
    lease = etcd.client.grant(600)
    etcd.client.put(key, b"1")
    etcd.client.put(key, b"2", lease)
    kv = etcd.client.get(key)
    assert kv.lease == lease and kv.version == 2
    done = etchlet.get(etcd, "-w", "json", prefix + "a")
    assert (done.returncode, lines(done)) == (0, [put_line(kv)])


def test_largest_lease_is_a_decimal_string(etchlet, etcd, prefix):
    lease = (1 << 63) - 1 - len(prefix) - int(etcd.version[2])
    etcd.client.grant(600, lease)
    etcd.client.put(prefix.encode(), b"", lease)
    done = etchlet.get(etcd, "-w", "json", prefix)
    assert parse(lines(done)[0])["lease"] == str(lease)


@pytest.mark.parametrize("value", [
    b"", b"plain", "grüße ☃ 𝄞".encode(), b"<a href='/'>&amp;</a>", b"a/b", "\u2028\u2029".encode(),
    b'quote " backslash \\ end', "\ufeff\ufffe\U0010ffff".encode()])
def test_json_escapes_quote_and_backslash_and_nothing_else(etchlet, etcd35, prefix, value):
    etcd35.client.put(prefix.encode(), value)
    done = etchlet.get(etcd35, "-w", "json", prefix)
    assert lines(done) == [put_line(etcd35.client.get(prefix.encode()))]


def test_json_escapes_control_characters(etchlet, etcd35, prefix):
    value = bytes(range(32)) + b"\x7f"
    etcd35.client.put(prefix.encode() + value, value)
    done = etchlet.get(etcd35, "-w", "json", "--prefix", prefix)
    event = parse(lines(done)[0])
    assert event["value"].encode() == value
    assert event["key"].encode() == prefix.encode() + value
    assert not re.search(rb"[\x00-\x1f]", lines(done)[0])


@pytest.mark.parametrize("data", [
    b"\xff", b"a\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3",
    b"\xe2\x82", b"ok\xf0\x9d\x84", b"\xf8\x88\x80\x80\x80"])
def test_invalid_utf8_comes_as_base64(etchlet, etcd35, prefix, data):
    key = prefix.encode() + data
    etcd35.client.put(key, data)
    done = etchlet.get(etcd35, "-w", "json", "--prefix", prefix)
    assert lines(done) == [put_line(etcd35.client.get(key))]
    assert b'"key_base64":"' in done.stdout and b'"value_base64":"' in done.stdout
    assert b'"key":' not in done.stdout and b'"value":' not in done.stdout


@pytest.mark.parametrize("length", [16383, 16384, 16385, 16386, 16387, 100_000])
def test_value_longer_than_16384_bytes_comes_as_base64(etchlet, etcd35, prefix, length):
    etcd35.client.put(prefix.encode(), b"v" * length)
    done = etchlet.get(etcd35, "-w", "json", prefix)
    member = "value_base64" if length > 16384 else "value"
    assert member in parse(lines(done)[0])
    assert lines(done) == [put_line(etcd35.client.get(prefix.encode()))]


def test_utf8_character_over_the_end_of_a_frame_is_whole(etchlet, servers):
    """Every split of a value over DATA frames gives the same text."""
    fake = servers.fake()
    value = "ß☃𝄞".encode() * 50
    fake.put(b"a", value)

    def in_small_pieces(call):
        sent = call.send_data
        call.send_data = lambda data, *_: sent(data, piece=1)
        return False
    fake.on["Range"] = in_small_pieces
    done = etchlet.get(fake, "-w", "json", "a")
    assert value_of(parse(lines(done)[0])) == value


def test_many_keys_come_in_key_order(etchlet, etcd, prefix):
    names = [b"%05d" % (i * 7919 % 3000) for i in range(3000)]
    etcd.client.txn([("put", prefix.encode() + name, b"v" + name) for name in names])
    done = etchlet.get(etcd, "--prefix", "-w", "json", prefix)
    assert done.returncode == 0
    assert keys(done) == [prefix + "%05d" % i for i in range(3000)]


def test_pages_are_pinned_at_one_revision(etchlet, servers):
    """Keys that change while they are listed come as they were at the first page."""
    fake = servers.fake()
    fake.txn([("put", b"k%05d" % i, b"old") for i in range(3000)])
    pages = []

    def change_after_each_page(call, _number):
        fake.answer_range(call)
        pages.append(call.request)
        fake.put(b"k02999", b"new")
        fake.delete(b"k02998")
        return True
    fake.on_page = change_after_each_page
    done = etchlet.get(fake, "--prefix", "-w", "json", "k")
    events = [parse(line) for line in lines(done)]
    assert done.returncode == 0 and len(events) == 3000
    assert {e["value"] for e in events} == {"old"}
    assert len(pages) > 1, "3,000 keys in one page"
    assert not pages[0].revision and {p.revision for p in pages[1:]} == {2}
    assert all(p.limit and not p.serializable for p in pages)


def test_value_above_max_value_is_left_out_and_exit_is_1(etchlet, etcd35, prefix):
    for name, value in (("a", b"1"), ("b", b"x" * 2049), ("c", b"x" * 2048), ("d", b"4")):
        etcd35.client.put((prefix + name).encode(), value)
    done = etchlet.get(etcd35, "--prefix", "--max-value=2K", "-w", "json", prefix)
    assert done.returncode == 1
    assert keys(done) == [prefix + "a", prefix + "c", prefix + "d"]
    assert (prefix + "b").encode() in done.stderr


def test_compacted_rev_fails_with_the_reason(etchlet, servers, version):
    etcd = servers.etcd(version)
    for i in range(10):
        etcd.client.put(b"a", b"%d" % i)
    etcd.client.compact(8)
    done = etchlet.get(etcd, "--rev=5", "a")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"compacted" in done.stderr


def test_compaction_between_pages_is_a_failure(etchlet, servers):
    fake = servers.fake()
    fake.txn([("put", b"k%05d" % i, b"old") for i in range(3000)])

    def compact_after_the_first_page(call, number):
        if number > 1:
            call.trailers_only(OUT_OF_RANGE, COMPACTED)
        return number > 1
    fake.on_page = compact_after_the_first_page
    done = etchlet.get(fake, "--prefix", "-w", "json", "k")
    assert done.returncode == 1 and b"compacted" in done.stderr
    listed = keys(done)
    assert listed == sorted(set(listed)) and len(listed) < 3000


def test_connection_lost_between_pages_is_a_failure(etchlet, servers):
    fake = servers.fake()
    fake.txn([("put", b"k%05d" % i, b"old") for i in range(3000)])

    def cut_at_the_second_page(call, number):
        if number > 1:
            call.connection.close()
        return number > 1
    fake.on_page = cut_at_the_second_page
    done = etchlet.get(fake, "--prefix", "-w", "json", "k")
    listed = keys(done)
    if done.returncode == 0:
        assert len(listed) == 3000
    assert listed == sorted(set(listed))


def test_each_endpoint_is_tried_once(etchlet, servers):
    fakes = [servers.fake() for _ in range(3)]
    for fake in fakes:
        fake.on["Range"] = lambda call: call.trailers_only(UNAVAILABLE, "etcdserver: no leader") or True
    done = etchlet.get(",".join(f.url for f in fakes), "a")
    assert (done.returncode, done.stdout) == (1, b"")
    assert [len(f.connections) for f in fakes] == [1, 1, 1]
    assert b"no leader" in done.stderr


def test_next_endpoint_answers_when_the_first_does_not(etchlet, servers, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    refused = servers.fake()
    refused.refuse()
    silent = servers.raw(lambda sock: sock.recv(1 << 20) and time.sleep(30))
    done = etchlet.get(f"{refused.url},{silent.url},{etcd35.url}", "--dial-timeout=500ms",
                       "--command-timeout=500ms", prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}\nv\n".encode())


def not_found(call):
    call.send_headers(status="404", content_type="text/html", end=True)


def not_implemented(call):
    call.trailers_only(UNIMPLEMENTED, "unknown service etcdserverpb.KV")


def closed_by_a_proxy(call):
    """PERMISSION_DENIED as gRPC has it for HTTP 403, which is the proxy's own word."""
    call.send_headers(status="403", content_type="text/html", end=True)


@pytest.mark.parametrize("answer", [not_found, not_implemented, closed_by_a_proxy])
def test_next_endpoint_answers_where_a_proxy_knows_no_etcd(etchlet, servers, answer):
    proxy, fake = servers.fake(), servers.fake()
    fake.put(b"k", b"v")
    proxy.on["Range"] = answer
    done = etchlet.get(f"{proxy.url},{fake.url}", "k")
    assert (done.returncode, done.stdout) == (0, b"k\nv\n")
    assert proxy.calls_of("Range")


def test_denied_by_a_member_is_denied_by_all(etchlet, servers):
    fakes = servers.fake(), servers.fake()
    fakes[0].on["Range"] = lambda call: call.trailers_only(
        PERMISSION_DENIED, "etcdserver: permission denied") or True
    done = etchlet.get(f"{fakes[0].url},{fakes[1].url}", "k")
    assert done.returncode == 1 and b"permission denied" in done.stderr
    assert not fakes[1].connections


def test_pages_of_two_clusters_are_not_mixed(etchlet, servers):
    one, two, third = (servers.fake() for _ in range(3))
    two.cluster_id = 0x77
    for fake, value in ((one, b"one"), (two, b"two"), (third, b"one")):
        fake.txn([("put", b"k%05d" % i, value) for i in range(3000)])

    def cut_at_the_second_page(call, number):
        if number > 1:
            call.connection.close()
        return number > 1
    one.on_page = cut_at_the_second_page
    done = etchlet.get(f"{one.url},{two.url}", "--prefix", "-w", "json", "k")
    assert done.returncode == 1
    values = [parse(line)["value"] for line in lines(done)]
    assert set(values) == {"one"} and len(values) < 3000
    assert two.pages == 1
    # A member of the first one's cluster ends the listing.
    one.pages = 0
    done = etchlet.get(f"{one.url},{two.url},{third.url}", "--prefix", "-w", "json", "k")
    assert done.returncode == 0
    assert [parse(line)["value"] for line in lines(done)] == ["one"] * 3000


@pytest.mark.parametrize("words", [[], ["--user=device:pw"]])
def test_server_that_lets_no_stream_be_opened_is_left(etchlet, servers, words):
    closed, fake = servers.fake(settings={MAX_STREAMS: 0}), servers.fake()
    fake.users = {"device": "pw"} if words else None
    fake.put(b"k", b"v")
    began = time.monotonic()
    done = etchlet.get(f"{closed.url},{fake.url}", "--command-timeout=500ms", *words, "k")
    assert (done.returncode, done.stdout) == (0, b"k\nv\n")
    assert 0.4 < time.monotonic() - began < 4
    assert not closed.calls and b"takes no" in done.stderr


def test_refused_connection_is_a_failure_with_the_endpoint_named(etchlet, servers):
    fake = servers.fake()
    fake.refuse()
    done = etchlet.get(fake, "a")
    assert done.returncode == 1 and f"127.0.0.1:{fake.port}".encode() in done.stderr


def test_permission_denied_is_a_failure_with_the_reason(etchlet, servers):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.client.user_add("device", "pw")
    etcd.enable_auth()
    done = etchlet.get(etcd, "--user=device:pw", "a")
    assert done.returncode == 1 and b"permission denied" in done.stderr


@pytest.mark.parametrize("words, reason", [
    (["--user=root:wrong"], b"invalid user ID or password"), ([], b"user name is empty")])
def test_failed_login_is_a_failure_with_the_reason(etchlet, servers, words, reason):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.enable_auth()
    done = etchlet.get(etcd, *words, "a")
    assert done.returncode == 1 and reason in done.stderr


def test_password_may_stand_in_every_place(etchlet, servers, tmp_path):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.enable_auth("se:cret")
    etcd.client.put(b"a", b"v")
    path = tmp_path / "password"
    path.write_text("se:cret\n")
    for words in (["--user=root:se:cret"], ["--user=root", "--password=se:cret"],
                  ["--user", "root", "--password-file", str(path)]):
        done = etchlet.get(etcd, *words, "a")
        assert (done.returncode, done.stdout) == (0, b"a\nv\n"), done.stderr


def test_authentication_that_is_off_is_warned_about(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    done = etchlet.get(etcd35, "--user=somebody:pw", prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}\nv\n".encode())
    assert b"warn" in done.stderr.lower()


def test_log_level_error_keeps_warnings_quiet(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    done = etchlet.get(etcd35, "--user=somebody:pw", "--log-level=error", prefix)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_answer_fails_after_the_command_timeout(etchlet, servers):
    fake = servers.fake()
    fake.on["Range"] = lambda call: True
    begin = time.monotonic()
    done = etchlet.get(fake, "--command-timeout=500ms", "a")
    assert done.returncode == 1
    assert 0.4 < time.monotonic() - begin < 3


def test_server_without_grpc_gives_a_clean_error(etchlet, servers, nghttpd):
    done = etchlet.get(nghttpd.url, "a")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"404" in done.stderr or b"UNIMPLEMENTED" in done.stderr.upper()


def test_truncated_answer_is_a_failure(etchlet, servers):
    fake = servers.fake()

    def truncated(call):
        call.send_headers()
        call.send_data(b"\0\0\0\x10\0" + b"\x0a\x05abc")
        call.send_trailers()
        return True
    fake.on["Range"] = truncated
    done = etchlet.get(fake, "a")
    assert (done.returncode, done.stdout) == (1, b"")


def test_answer_without_a_message_is_a_failure(etchlet, servers):
    fake = servers.fake()
    fake.on["Range"] = lambda call: (call.send_headers(), call.send_trailers())
    assert etchlet.get(fake, "a").returncode == 1


def test_denied_in_trailers_after_headers_is_understood(etchlet, servers):
    """A TLS etcd sends headers first and the status in trailers of their own."""
    fake = servers.fake()

    def denied(call):
        call.send_headers(extra=[("trailer", "Grpc-Status"), ("trailer", "Grpc-Message")])
        call.send_trailers(PERMISSION_DENIED, "etcdserver: permission%20denied")
    fake.on["Range"] = lambda call: denied(call) or True
    done = etchlet.get(fake, "a")
    assert done.returncode == 1 and b"etcdserver: permission denied" in done.stderr


def test_base64_is_padded(etchlet, etcd35, prefix):
    for length in (1, 2, 3, 4):
        etcd35.client.put(prefix.encode(), b"\xff" * length)
        event = json.loads(etchlet.get(etcd35, "-w", "json", prefix).stdout)
        assert event["value_base64"] == base64.b64encode(b"\xff" * length).decode()


def test_output_to_a_full_device_is_a_failure(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    with open("/dev/full", "wb") as full:
        agent = etchlet.start("get", "--endpoints", etcd35.url, prefix, stdout=full)
        assert agent.wait_exit() == 1


def test_etcd_itself_denies_what_the_tests_think_it_denies(etcd35):
    with pytest.raises(GrpcError):
        etcd35.client.range(b"")

# SPDX-License-Identifier: Apache-2.0
"""
HTTP/2 and gRPC: what a correct server may do works, what it may not do ends the connection with the
right error, and nothing of it ends the agent, swells it or loses an event.
"""

import struct

import h2.settings
import pytest

from harness import proto, wait
from harness.agent import put_line, value_of
from harness.etcd_client import frame, literal
from harness.fake_etcd import MAX_STREAMS, UNAVAILABLE
from harness.proto import PUT, Event, KeyValue

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, \
    ENHANCE_YOUR_CALM = range(12)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
CODES = h2.settings.SettingCodes


def connected(etchlet, fake, *words, **options):
    """A watch of the prefix k that has printed one event."""
    agent = etchlet.watch(fake, "--rev=2", "--prefix", *words, "k", **options)
    watch = fake.wait_watches()
    fake.put(b"k-first", b"v")
    agent.wait_events(1)
    return agent, watch


def goes_on(agent, fake, count=1):
    """The next event comes, and no event came twice."""
    wait.until(lambda: any(w.is_live and w.is_open for w in fake.watches), 10, "an open watch")
    last = fake.put(b"k-next", b"v")
    agent.wait_event(lambda e: e["mod_revision"] == last)
    revisions = [e["mod_revision"] for e in agent.events()]
    assert revisions == list(range(2, 2 + len(revisions)))
    assert len(revisions) == count + 1


def small(agent, etchlet):
    if not etchlet.is_sanitized:
        assert agent.peak_kb() < 4096


def settings(*pairs):
    return b"".join(struct.pack(">HI", *pair) for pair in pairs)


# What a server may not do. Each entry: the frames for a given open stream, the code of the RFC.

VIOLATIONS = {
    "data on stream 0": (lambda s: frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "data on an idle stream": (lambda s: frame(DATA, 0, s + 100, b"x"), PROTOCOL_ERROR),
    "data on a stream of the server": (lambda s: frame(DATA, 0, 2, b"x"), PROTOCOL_ERROR),
    "frame above the maximum": (lambda s: frame(DATA, 0, s, b"x" * 16385), FRAME_SIZE_ERROR),
    "unknown frame above the maximum": (lambda s: frame(0xEE, 0, 0, b"x" * 16385), FRAME_SIZE_ERROR),
    "padding as long as the frame": (lambda s: frame(DATA, PADDED, s, b"\x05abcd"), PROTOCOL_ERROR),
    "padded frame without a length": (lambda s: frame(DATA, PADDED, s, b""),
                                      (FRAME_SIZE_ERROR, PROTOCOL_ERROR)),
    "headers on stream 0": (lambda s: frame(HEADERS, END_HEADERS, 0, b""), PROTOCOL_ERROR),
    "headers on an idle stream": (lambda s: frame(HEADERS, END_HEADERS, s + 100,
                                                  literal(":status", "200")), PROTOCOL_ERROR),
    "headers on an even stream": (lambda s: frame(HEADERS, END_HEADERS, 2,
                                                  literal(":status", "200")), PROTOCOL_ERROR),
    "priority of a wrong length": (lambda s: frame(PRIORITY, 0, s, b"1234"), FRAME_SIZE_ERROR),
    "priority on stream 0": (lambda s: frame(PRIORITY, 0, 0, b"12345"), PROTOCOL_ERROR),
    "reset on stream 0": (lambda s: frame(RST_STREAM, 0, 0, b"\0\0\0\0"), PROTOCOL_ERROR),
    "reset of an idle stream": (lambda s: frame(RST_STREAM, 0, s + 100, b"\0\0\0\0"),
                                PROTOCOL_ERROR),
    "reset of a wrong length": (lambda s: frame(RST_STREAM, 0, s, b"\0\0\0"), FRAME_SIZE_ERROR),
    "settings on a stream": (lambda s: frame(SETTINGS, 0, s), PROTOCOL_ERROR),
    "settings of a wrong length": (lambda s: frame(SETTINGS, 0, 0, b"12345"), FRAME_SIZE_ERROR),
    "settings ack with content": (lambda s: frame(SETTINGS, ACK, 0, settings((1, 1))),
                                  FRAME_SIZE_ERROR),
    "push switched on": (lambda s: frame(SETTINGS, 0, 0, settings((2, 1))), PROTOCOL_ERROR),
    "push of a wrong value": (lambda s: frame(SETTINGS, 0, 0, settings((2, 2))), PROTOCOL_ERROR),
    "initial window above the limit": (lambda s: frame(SETTINGS, 0, 0, settings((4, 1 << 31))),
                                       FLOW_CONTROL_ERROR),
    "maximum frame size too small": (lambda s: frame(SETTINGS, 0, 0, settings((5, 16383))),
                                     PROTOCOL_ERROR),
    "maximum frame size too large": (lambda s: frame(SETTINGS, 0, 0, settings((5, 1 << 24))),
                                     PROTOCOL_ERROR),
    "initial window that overflows a stream": (
        lambda s: frame(WINDOW_UPDATE, 0, s, struct.pack(">I", (1 << 30))) +
        frame(SETTINGS, 0, 0, settings((4, (1 << 31) - 1))), FLOW_CONTROL_ERROR),
    "push promise": (lambda s: frame(PUSH_PROMISE, END_HEADERS, s, b"\0\0\0\2" + literal(":path", "/")),
                     PROTOCOL_ERROR),
    "ping on a stream": (lambda s: frame(PING, 0, s, b"12345678"), PROTOCOL_ERROR),
    "ping of a wrong length": (lambda s: frame(PING, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
    "goaway on a stream": (lambda s: frame(GOAWAY, 0, s, b"\0" * 8), PROTOCOL_ERROR),
    "goaway of a wrong length": (lambda s: frame(GOAWAY, 0, 0, b"\0" * 7), FRAME_SIZE_ERROR),
    "window update of 0": (lambda s: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), PROTOCOL_ERROR),
    "window update of a wrong length": (lambda s: frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"),
                                        FRAME_SIZE_ERROR),
    "window update on an idle stream": (lambda s: frame(WINDOW_UPDATE, 0, s + 100, b"\0\0\0\1"),
                                        PROTOCOL_ERROR),
    "window of the connection that overflows": (
        lambda s: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)) * 2,
        FLOW_CONTROL_ERROR),
    "continuation without headers": (lambda s: frame(CONTINUATION, END_HEADERS, s, b""),
                                     PROTOCOL_ERROR),
    "continuation of another stream": (
        lambda s: frame(HEADERS, END_STREAM, s, literal("a", "b")) + frame(CONTINUATION, END_HEADERS, s + 2),
        PROTOCOL_ERROR),
    "frame between headers and continuation": (
        lambda s: frame(HEADERS, END_STREAM, s, literal("a", "b")) + frame(PING, 0, 0, b"12345678"),
        PROTOCOL_ERROR),
    "field of the static table that does not exist": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\x80"), COMPRESSION_ERROR),
    "field of the dynamic table that does not exist": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\xff\x20"), COMPRESSION_ERROR),
    "table size above what was allowed": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\x3f\xff\xff\x7f"),
        COMPRESSION_ERROR),
    "header string longer than its block": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\0\x05ab"), COMPRESSION_ERROR),
    "integer of a header that overflows": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\xff" + b"\xff" * 12 + b"\x01"),
        COMPRESSION_ERROR),
    "Huffman code with wrong padding": (
        lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, b"\0\x81\x00\x01a"),
        COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_closes_the_connection_with_its_code(etchlet, servers, name):
    make, codes = VIOLATIONS[name]
    codes = codes if isinstance(codes, tuple) else (codes,)
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection = watch.call.connection
    connection.raw(make(watch.call.stream_id))
    wait.until(lambda: connection.goaway or connection.closed, 5, "the end of the connection")
    assert connection.goaway is not None, "closed without GOAWAY"
    assert connection.goaway[0] in codes, f"code {connection.goaway[0]}"
    connection.wait_closed(5)
    names = {1: "PROTOCOL_ERROR", 3: "FLOW_CONTROL_ERROR", 6: "FRAME_SIZE_ERROR",
             9: "COMPRESSION_ERROR"}
    agent.wait_stderr(names[connection.goaway[0]], 5)
    goes_on(agent, fake)


STREAM_ERRORS = {
    "window update of 0 on a stream": lambda s: frame(WINDOW_UPDATE, 0, s, b"\0\0\0\0"),
    "window of a stream that overflows":
        lambda s: frame(WINDOW_UPDATE, 0, s, struct.pack(">I", (1 << 31) - 1)) * 2,
    "upper-case header name": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s,
                                              literal("Grpc-Status", "0")),
    "pseudo-header in trailers": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s,
                                                 literal(":status", "200")),
    "connection header": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s,
                                         literal("connection", "close")),
    "line end in a header value": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s,
                                                  literal("grpc-message", "a\nb")),
    "headers in the middle without end of stream": lambda s: frame(
        HEADERS, END_HEADERS, s, literal("grpc-status", "0")),
}


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_stream_error_ends_the_stream_or_the_connection_and_no_more(etchlet, servers, name):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection = watch.call.connection
    connection.raw(STREAM_ERRORS[name](watch.call.stream_id))
    wait.until(lambda: len(fake.watches) > 1, 10, "another watch")
    watch.is_live = False
    assert watch.call.reset_code in (None, PROTOCOL_ERROR, FLOW_CONTROL_ERROR)
    if connection.goaway is not None:
        assert connection.goaway[0] in (PROTOCOL_ERROR, FLOW_CONTROL_ERROR, NO_ERROR)
    goes_on(agent, fake)


def test_first_frame_must_be_settings(etchlet, servers):
    got = bytearray()

    def serve(sock):
        sock.sendall(frame(PING, 0, 0, b"12345678"))
        while True:
            data = sock.recv(65536)
            if not data:
                return
            got.extend(data)
    raw = servers.raw(serve)
    agent = etchlet.watch(raw.url, "k")
    agent.wait_stderr("PROTOCOL_ERROR")
    wait.until(lambda: goaway_in(got) == PROTOCOL_ERROR, 5, "GOAWAY(PROTOCOL_ERROR)")


def goaway_in(data):
    """The code of the GOAWAY in what a client sent, or None."""
    at = 24
    while at + 9 <= len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        if data[at + 3] == GOAWAY:
            return int.from_bytes(data[at + 13 : at + 17], "big")
        at += 9 + length
    return None


@pytest.mark.parametrize("greeting", [
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\0" * 100, b"SSH-2.0-OpenSSH_9.0\r\n",
    b"\x15\x03\x03\x00\x02\x02\x46"])
def test_server_of_another_protocol_is_told(etchlet, servers, greeting):
    def serve(sock):
        sock.recv(65536)
        sock.sendall(greeting)
        sock.close()
    raw = servers.raw(serve)
    agent = etchlet.watch(raw.url, "k")
    agent.wait_stderr(f"127.0.0.1:{raw.port}")
    wait.holds_for(lambda: agent.is_running, 0.5)


def test_more_data_than_the_window_is_a_flow_control_error(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection, stream = watch.call.connection, watch.call.stream_id
    agent.out.pause()
    fake.put(b"k-filler", b"x")  # The reader wakes once more, then stays paused.
    event = Event(PUT, KeyValue(b"k", b"x" * 1_000_000, 4, 4, 1))
    message = proto.watch_response(header=fake.header(4), watch_id=watch.id, events=[event])
    data = struct.pack(">BI", 0, len(message)) + message
    for at in range(0, len(data), 16384):
        connection.raw(frame(DATA, 0, stream, data[at : at + 16384]))
    wait.until(lambda: connection.goaway or watch.call.reset_code is not None, 10, "an error")
    # RFC 9113 6.9.1 leaves the choice between an error of the stream and one of the connection.
    assert FLOW_CONTROL_ERROR in (connection.goaway or (None,))[:1] + (watch.call.reset_code,)
    small(agent, etchlet)
    agent.out.resume()


# What a server may do.


def test_padding_and_small_pieces_change_nothing(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    kv = KeyValue(b"k", bytes(range(256)) * 200, 3, 3, 1)
    fake.revision = 3
    response = proto.watch_response(header=fake.header(), watch_id=watch.id,
                                    events=[Event(PUT, kv)])
    watch.call.send_message(response, pad=200, piece=999)
    assert agent.wait_lines(2)[1] == put_line(kv)


def test_frames_of_mostly_padding_give_their_window_back(etchlet, servers):
    """Padding counts for flow control: after many of them there must still be room."""
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    kv = KeyValue(b"k", b"v" * 2000, 3, 3, 1)
    fake.revision = 3
    watch.call.send_message(proto.watch_response(header=fake.header(), watch_id=watch.id,
                                                 events=[Event(PUT, kv)]), pad=254, piece=1)
    assert agent.wait_lines(2)[1] == put_line(kv)


def test_headers_in_continuations(etchlet, servers):
    fake = servers.fake()

    def split(call):
        block = b"".join(literal(n, v) for n, v in [
            (":status", "200"), ("content-type", "application/grpc"), ("x-more", "y" * 100)])
        call.headers_sent = True
        # The library must know of the headers, or it refuses to send data after them.
        call._h2(lambda h: h.send_headers(call.stream_id, [
            (":status", "200"), ("content-type", "application/grpc")]) or h.data_to_send())
        pieces = [block[i : i + 40] for i in range(0, len(block), 40)]
        frames = [frame(HEADERS, 0, call.stream_id, pieces[0])]
        frames += [frame(CONTINUATION, 0, call.stream_id, p) for p in pieces[1:-1]]
        frames.append(frame(CONTINUATION, END_HEADERS, call.stream_id, pieces[-1]))
        call.connection.raw(*frames)
        return False
    fake.on["Watch"] = split
    agent, _ = connected(etchlet, fake)
    goes_on(agent, fake)


@pytest.mark.parametrize("status", ["100", "103"])
def test_informational_answers_are_passed_over(etchlet, servers, status):
    fake = servers.fake()

    def inform(call):
        call.connection.raw(frame(HEADERS, END_HEADERS, call.stream_id, literal(":status", status)))
        return False
    fake.on["Watch"] = inform
    agent, _ = connected(etchlet, fake)
    goes_on(agent, fake)


def test_unknown_frames_settings_and_priorities_are_passed_over(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    stream = watch.call.stream_id
    watch.call.connection.raw(
        frame(0x42, 0xFF, stream, b"whatever"), frame(0xFF, 0, 0, b""), frame(0x0A, 0, 0, b"altsvc"),
        frame(SETTINGS, 0, 0, settings((0x99, 5), (0xFFFF, 0xFFFFFFFF))),
        frame(PRIORITY, 0, stream, b"\0\0\0\0\x10"), frame(PRIORITY, 0, stream + 1000, b"\0\0\0\0\x10"),
        frame(SETTINGS, 0, 0, b""), frame(PING, ACK, 0, b"unasked!"))
    goes_on(agent, fake)
    assert watch.call.connection.closed is None and len(fake.watches) == 1


def test_ping_is_answered_with_its_own_bytes(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection = watch.call.connection
    seen = []
    handle = connection.handle
    connection.handle = lambda e: (seen.append(e.ping_data) if hasattr(e, "ping_data") else None,
                                   handle(e))
    connection.send_ping(b"\0\xff123456")
    wait.until(lambda: b"\0\xff123456" in seen, 5)
    goes_on(agent, fake)


@pytest.mark.parametrize("changes", [
    {CODES.INITIAL_WINDOW_SIZE: 1}, {CODES.INITIAL_WINDOW_SIZE: 0x7FFFFFFF},
    {CODES.HEADER_TABLE_SIZE: 0}, {CODES.HEADER_TABLE_SIZE: 1 << 20},
    {CODES.MAX_FRAME_SIZE: (1 << 24) - 1}, {CODES.MAX_HEADER_LIST_SIZE: 8192}])
def test_settings_of_the_server_are_kept_to(etchlet, servers, changes):
    """The library faults an agent that goes beyond them."""
    fake = servers.fake(settings=changes)
    fake.users = {"device": "pw" * 500}
    agent, _ = connected(etchlet, fake, f"--user=device:{'pw' * 500}", "--probe-interval=100ms",
                         "--idle-after=60s")
    wait.until(lambda: len(fake.probes()) >= 5, 10)
    goes_on(agent, fake)
    fake.cut()
    goes_on(agent, fake, 2)


def test_dynamic_table_is_used_by_many_answers(etchlet, servers):
    """Answers whose headers are indexed, evicted and indexed again."""
    fake = servers.fake()
    count = {"n": 0}

    def with_headers(call):
        count["n"] += 1
        message = call.message()
        call.request = proto.decode_range_request(message)
        extra = [("x-%d" % (i % 17), "value-%d-" % (count["n"] * i % 23) + "z" * (i * 7)) for i in range(20)]
        call.send_headers(extra)
        call.send_message(proto.range_response(fake.header()))
        call.send_trailers(extra=extra[:5])
        return True
    fake.on["Range"] = with_headers
    agent, _ = connected(etchlet, fake, "--probe-interval=20ms", "--idle-after=60s")
    wait.until(lambda: count["n"] >= 60, 20)
    goes_on(agent, fake)
    assert len(fake.connections) == 1


@pytest.mark.parametrize("limit", [1, 2])
def test_limit_of_streams_is_kept_to(etchlet, servers, limit):
    fake = servers.fake(settings={MAX_STREAMS: limit})
    fake.users = {"device": "pw"}
    agent, watch = connected(etchlet, fake, "--user=device:pw", "--probe-interval=200ms",
                             "--idle-after=500ms")
    if limit > 1:
        wait.until(lambda: len(fake.probes()) >= 3, 10)
    goes_on(agent, fake)
    assert watch.call.connection.max_concurrent <= limit


def test_one_stream_only_leaves_liveness_to_pings_and_the_position_to_events(etchlet, servers, state):
    fake = servers.fake(settings={MAX_STREAMS: 1})
    agent, watch = connected(etchlet, fake, "--state", state, "--probe-interval=200ms",
                             "--idle-after=500ms", "--keepalive-time=300ms")
    fake.revision = 500
    connection = watch.call.connection
    wait.until(lambda: len(connection.pings) >= 6, 15, "PINGs in place of probes")
    assert len(fake.watches) == 1, "the watch was given up for a probe"
    agent.stop()
    assert etchlet.position(state) == 2


def test_goaway_in_two_steps_loses_nothing(etchlet, servers):
    """As a gracefully stopping server does: accepted streams go on, new ones go elsewhere."""
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection = watch.call.connection
    connection.send_goaway(last_stream_id=(1 << 31) - 1)
    connection.send_ping()
    fake.put(b"k-between", b"v")
    connection.send_goaway()
    wait.until(lambda: len(fake.connections) >= 2, 10, "a new connection")
    fake.put(b"k-after", b"v")
    wait.until(lambda: len(agent.events()) == 3, 10, "all events")
    connection.close()
    goes_on(agent, fake, 3)


def test_goaway_with_an_error_is_told_with_its_text(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    watch.call.connection.send_goaway(code=2, debug=b"going \x1b[1mdown")
    watch.call.connection.close()
    agent.wait_stderr(rb"going \\x1b\[1mdown")
    goes_on(agent, fake)


def test_goaway_before_anything_was_asked_is_followed(etchlet, servers):
    fake = servers.fake()

    def go_away(connection):
        if len(fake.connections) < 3:
            connection.raw(frame(SETTINGS, 0, 0), frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
            connection.sock.recv(65536)
            connection.close()
            return True
        return False
    fake.on_connect = go_away
    connected(etchlet, fake)
    assert len(fake.connections) >= 3


@pytest.mark.parametrize("code", [NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL,
                                  ENHANCE_YOUR_CALM, 0xDEAD])
def test_reset_of_the_watch_stream_is_resumed(etchlet, servers, code):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    watch.call.connection.raw(frame(RST_STREAM, 0, watch.call.stream_id, struct.pack(">I", code)))
    watch.is_live = False
    watch.call.is_over = True
    fake.wait_watches(2)
    goes_on(agent, fake)


# Floods.


def flood(connection, chunk, total_bytes):
    """Sends copies of chunk until the agent closes, or until that many bytes are sent."""
    sent = 0
    block = chunk * max(1, 32768 // len(chunk))
    while sent < total_bytes and not (connection.closed or connection.is_broken or connection.goaway):
        connection.raw(block)
        sent += len(block)


FLOODS_THAT_END = {
    "endless header block": lambda s: (
        frame(HEADERS, END_STREAM, s, literal("a", "b")),
        frame(CONTINUATION, 0, s, literal("x-flood", "y" * 1000) * 16), 64 << 20),
    "endless empty continuations": lambda s: (
        frame(HEADERS, END_STREAM, s, literal("a", "b")), frame(CONTINUATION, 0, s, b""), 8 << 20),
    "settings": lambda s: (b"", frame(SETTINGS, 0, 0, settings((3, 100))), 16 << 20),
    "empty data": lambda s: (b"", frame(DATA, 0, s, b""), 16 << 20),
    "pings": lambda s: (b"", frame(PING, 0, 0, b"12345678"), 16 << 20),
    "priorities": lambda s: (b"", frame(PRIORITY, 0, s, b"\0\0\0\0\1"), 16 << 20),
    "window updates": lambda s: (b"", frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), 16 << 20),
    "unknown frames": lambda s: (b"", frame(0xEE, 0, 0, b"x" * 100), 16 << 20),
}
MUST_END = ("endless header block", "endless empty continuations")


@pytest.mark.parametrize("name", FLOODS_THAT_END)
def test_flood_is_survived_in_little_memory(etchlet, servers, name):
    """An endless header block must end the connection; the others may, or are simply borne."""
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    connection = watch.call.connection
    start, chunk, total = FLOODS_THAT_END[name](watch.call.stream_id)
    connection.raw(start)
    flood(connection, chunk, total)
    if name in MUST_END:
        wait.until(lambda: connection.goaway or connection.closed, 10, "the end of the connection")
    if connection.goaway is not None:
        assert connection.goaway[0] not in (NO_ERROR, INTERNAL_ERROR)
    elif name in MUST_END:
        raise AssertionError("closed without GOAWAY")
    goes_on(agent, fake)
    small(agent, etchlet)


@pytest.mark.parametrize("name", ["settings", "pings"])
def test_flood_that_is_to_be_answered_is_bounded_when_nobody_reads_the_answers(etchlet, servers, name):
    """The server reads nothing: answers pile up in the agent unless it gives up."""
    chunk = FLOODS_THAT_END[name](1)[1]

    def serve(sock):
        sock.sendall(frame(SETTINGS, 0, 0))
        sock.settimeout(3)
        try:
            for _ in range(2000):
                sock.sendall(chunk * 1000)
        except OSError:
            pass
    raw = servers.raw(serve)
    agent = etchlet.watch(raw.url, "--command-timeout=1s", "k")
    wait.until(lambda: len(raw.connections) >= 2, 30, "it gave up and came again")
    small(agent, etchlet)
    agent.stop()


def test_many_headers_in_an_answer_are_bounded(etchlet, servers):
    fake = servers.fake()
    tries = []

    def bloated(call):
        tries.append(call)
        if len(tries) > 1:
            return False
        fields = [("x-%d" % i, "y" * 50) for i in range(5000)]
        block = b"".join(literal(n, v) for n, v in [(":status", "200"), *fields])
        call.connection.raw(frame(HEADERS, 0, call.stream_id, block[:16000]), *[
            frame(CONTINUATION, 0, call.stream_id, block[i : i + 16000])
            for i in range(16000, len(block), 16000)], frame(CONTINUATION, END_HEADERS, call.stream_id))
        return True
    fake.on["Watch"] = bloated
    agent, _ = connected(etchlet, fake)
    goes_on(agent, fake)
    small(agent, etchlet)


# gRPC.


ODD_ANSWERS = {
    "compressed message": lambda c: (c.send_headers(), c.send_message(b"\x08\x01", compressed=1)),
    "compressed flag of no meaning": lambda c: (c.send_headers(),
                                                c.send_message(b"\x08\x01", compressed=7)),
    "web page": lambda c: (c.send_headers(content_type="text/html"),
                           c.send_data(b"<html>hello</html>", end=True)),
    "page of a proxy": lambda c: (c.send_headers(status="503", content_type="text/html"),
                                  c.send_data(b"<html>unavailable</html>", end=True)),
    "status 404 alone": lambda c: c.send_headers(status="404", content_type="text/plain", end=True),
    "status 200 and the end": lambda c: c.send_headers(end=True),
    "end without a status": lambda c: (c.send_headers(), c.send_data(b"", end=True)),
    "status 0 and the end": lambda c: (c.send_headers(), c.send_trailers(0)),
    "status in words": lambda c: c.send_headers([("grpc-status", "bad")], end=True),
    "status of 17 digits": lambda c: c.send_headers([("grpc-status", "1" * 17)], end=True),
    "end inside a message": lambda c: (c.send_headers(), c.send_data(b"\0\0\0\x10\0abc", end=True)),
    "end inside a prefix": lambda c: (c.send_headers(), c.send_data(b"\0\0", end=True)),
    "field of wire type 7": lambda c: (c.send_headers(), c.send_message(b"\x0f\x01")),
    "field number 0": lambda c: (c.send_headers(), c.send_message(b"\x00\x01")),
    "group": lambda c: (c.send_headers(), c.send_message(b"\x0b\x0c")),
    "varint of 11 bytes": lambda c: (c.send_headers(), c.send_message(b"\x10" + b"\xff" * 10 + b"\x01")),
    "length beyond the message": lambda c: (c.send_headers(), c.send_message(b"\x0a\x7fabc")),
    "length of 2^63": lambda c: (c.send_headers(),
                                 c.send_message(b"\x5a" + proto.varint(1 << 63) + b"abc")),
    "event cut short": lambda c: (c.send_headers(), c.send_message(b"\x18\x01\x5a\x03\x12\x05a")),
    "message of 4 GiB": lambda c: (c.send_headers(), c.send_data(b"\0\xff\xff\xff\xff\x5a\xff\xff")),
    "no answer and a reset": lambda c: c.reset(REFUSED_STREAM),
    "unavailable": lambda c: c.trailers_only(UNAVAILABLE, "etcdserver: server stopped"),
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_odd_answer_is_told_and_recovered_from(etchlet, servers, name):
    fake = servers.fake()
    tries = []

    def odd(call):
        tries.append(call)
        if len(tries) > 1:
            return False
        call.message()
        ODD_ANSWERS[name](call)
        return True
    fake.on["Watch"] = odd
    agent = etchlet.watch(fake, "--rev=2", "--prefix", "--command-timeout=1s", "k")
    wait.until(lambda: len(tries) > 1 and fake.watches and fake.watches[-1].is_live, 10)
    last = fake.put(b"k", b"v")
    agent.wait_event(lambda e: e["mod_revision"] == last)
    assert len(agent.events()) == 1
    assert agent.stderr()


@pytest.mark.parametrize("where", ["first", "last", "in an event"])
def test_large_unknown_fields_stream_by(etchlet, servers, where):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    ballast = proto.encode((777, b"x" * (12 << 20)))
    kv = KeyValue(b"k", b"v", 3, 3, 1)
    fake.revision = 3
    event = proto.encode((1, 0), (2, kv.encode())) + (ballast if where == "in an event" else b"")
    response = proto.watch_response(header=fake.header(), watch_id=watch.id, events=[event])
    response = {"first": ballast + response, "last": response + ballast}.get(where, response)
    watch.call.send_message(response)
    assert agent.wait_lines(2, 20)[1] == put_line(kv)
    small(agent, etchlet)


def test_large_key_streams_by(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    watch.events([Event(PUT, KeyValue(b"k" * (8 << 20), b"v", 3, 3, 1)),
                  Event(PUT, KeyValue(b"k", b"v", 3, 3, 1))])
    agent.wait_events(2, 20)
    small(agent, etchlet)


def test_large_reason_is_bounded(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    watch.cancel("r" * (4 << 20))
    fake.wait_watches(2, 20)
    goes_on(agent, fake)
    small(agent, etchlet)


def test_many_events_in_one_response(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    events = [Event(PUT, KeyValue(b"k%06d" % i, b"v", 3, 3, 1)) for i in range(50_000)]
    watch.events(events)
    agent.wait_lines(50_001, 30)
    small(agent, etchlet)


def test_response_for_a_watch_that_was_not_asked_for_is_ignored(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    watch.events([Event(PUT, KeyValue(b"k-foreign", b"v", 3, 3, 1))], watch_id=77)
    watch.send(watch_id=78, canceled=True)
    last = fake.put(b"k-own", b"v")
    agent.wait_event(lambda e: e["mod_revision"] == last)
    assert [e["key"] for e in agent.events()] == ["k-first", "k-own"]


def test_server_of_nghttp2_gives_a_clean_error(etchlet, nghttpd):
    agent = etchlet.watch(nghttpd.url, "k")
    agent.wait_stderr("404|unimplemented")
    assert agent.is_running


def test_values_of_a_slow_sender_arrive(etchlet, servers):
    fake = servers.fake()
    agent, watch = connected(etchlet, fake)
    kv = KeyValue(b"k", b"slow" * 5000, 3, 3, 1)
    fake.revision = 3
    watch.call.send_message(proto.watch_response(header=fake.header(), watch_id=watch.id,
                                                 events=[Event(PUT, kv)]), piece=500)
    assert value_of(agent.wait_events(2)[1]) == kv.value

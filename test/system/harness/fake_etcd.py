# SPDX-License-Identifier: Apache-2.0
"""
A fake etcd over python3-h2, faithful by default and hostile on demand.

By itself it behaves as a small etcd: a key-value history with revisions, linearizable and pinned
ranges, watches that resume, compaction, Status and Authenticate. A test changes single attributes,
replaces a handler (fake.on["Range"] = function of a Call), sends responses of its own through
Call and Watch, or writes raw frames that the h2 library would refuse to send.

Every call, its metadata and every watch request is recorded. What the client does against HTTP/2
lands in fake.faults, and so does an exception in a handler; the fixture asserts that it is empty.
"""

import queue
import select
import socket
import ssl
import struct
import threading
import time
import traceback
from types import SimpleNamespace

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from . import proto, wait
from .etcd_client import PING, frame
from .proto import DELETE, PUT, Event, KeyValue

MAX_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, PERMISSION_DENIED = 0, 1, 2, 3, 7
FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 9, 11, 12, 14, 16
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


class Connection:
    """One connection of the agent. Its reader runs in a thread of its own, each call in another."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.opened = time.monotonic()
        self.closed = None
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.calls = {}
        self.is_broken = False  # nothing can be written any more
        self.goaway = None  # (error code, last stream id, debug data) the agent sent
        self.settings_acked = False
        self.pings = []  # times at which the agent sent a PING
        self.ping_acks = 0
        self.max_concurrent = 0
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        # In the first SETTINGS. The library holds the agent to them from the start, so an agent that
        # asks before it has read them is faulted for it.
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={MAX_STREAMS: 100, **server.settings})

    def run(self):
        try:
            with self.lock:
                self.h2.initiate_connection()
                self.flush()
            while True:
                data = self.read()
                if not data:
                    break
                self.receive(data)
        except (OSError, ValueError):
            pass
        except h2.exceptions.ProtocolError as error:
            self.server.fault(f"the agent broke HTTP/2: {error!r}")
        except Exception:
            self.server.fault(traceback.format_exc())
        self.close()

    def read(self):
        """
        What came, empty at the end. A TLS connection is read and written under the lock, for OpenSSL
        does not allow both at once; so it must not block in there.
        """
        if self.server.ssl_context is None:
            return self.sock.recv(65536)
        self.sock.setblocking(False)
        while True:
            with self.lock:
                try:
                    return self.sock.recv(65536)
                except ssl.SSLWantReadError:
                    pass
            select.select([self.sock], [], [])

    def receive(self, data):
        with self.lock:
            if self.closed is not None:
                return
            for event in self.h2.receive_data(data):
                self.handle(event)
            self.flush()
            self.changed.notify_all()

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            call = Call(self, event.stream_id, dict(event.headers))
            self.calls[event.stream_id] = call
            open_now = sum(1 for c in self.calls.values() if not c.is_over)
            self.max_concurrent = max(self.max_concurrent, open_now)
            self.server.started(call)
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.calls[event.stream_id].received(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            self.calls[event.stream_id].half_closed()
        elif isinstance(event, h2.events.StreamReset):
            call = self.calls.get(event.stream_id)
            if call is not None:
                call.was_reset(int(event.error_code))
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.settings_acked = True
        elif isinstance(event, h2.events.PingReceived):
            self.pings.append(time.monotonic())
        elif isinstance(event, h2.events.PingAckReceived):
            self.ping_acks += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = (int(event.error_code), event.last_stream_id, event.additional_data)
            for call in self.calls.values():
                call.was_reset(None)

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.server.answers_pings:
            data = _without_ping_acks(data)
        if data:
            self.write(data)

    def write(self, data):
        try:
            while data:
                try:
                    data = data[self.sock.send(data) :]
                except ssl.SSLWantWriteError:
                    select.select([], [self.sock], [], 10)
        except (BlockingIOError, ValueError):
            self.close()
        except OSError:
            # The agent has gone; the reader finds its last words, then the end.
            self.is_broken = True

    def raw(self, *frames):
        """Bytes as they are, past the h2 library."""
        with self.lock:
            if self.closed is None:
                self.write(b"".join(frames))

    def send_goaway(self, code=0, last_stream_id=None, debug=b""):
        if last_stream_id is None:
            last_stream_id = max(self.calls, default=0)
        self.raw(frame(7, 0, 0, struct.pack(">II", last_stream_id, code) + debug))

    def send_ping(self, data=b"etchping"):
        self.raw(frame(PING, 0, 0, data))

    def close(self, rst=False):
        with self.lock:
            if self.closed is not None:
                return
            self.closed = time.monotonic()
            try:
                if rst:
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         struct.pack("ii", 1, 0))
                    self.sock.shutdown(socket.SHUT_RD)
                else:
                    self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.sock.close()
            for call in self.calls.values():
                call.was_reset(None)
            self.changed.notify_all()

    def wait_closed(self, timeout_s=10.0):
        wait.until(lambda: self.closed is not None, timeout_s, "the connection is closed")


class Call:
    """One request of the agent and the answer to it."""

    def __init__(self, connection, stream_id, headers):
        self.connection = connection
        self.stream_id = stream_id
        self.headers = headers
        self.path = headers.get(":path", "")
        self.method = self.path.rsplit("/", 1)[-1]
        self.at = time.monotonic()
        self.inbox = bytearray()
        self.queue = queue.Queue()
        self.requests = []  # decoded watch requests
        self.request = None  # the one request of a unary call, decoded
        self.is_over = False
        self.reset_code = None
        self.headers_sent = False
        self.sending = threading.Lock()  # a message is not to be torn by that of another watch

    @property
    def server(self):
        return self.connection.server

    def received(self, data):
        self.inbox += data
        while len(self.inbox) >= 5:
            length = int.from_bytes(self.inbox[1:5], "big")
            if len(self.inbox) < 5 + length:
                return
            if self.inbox[0]:
                self.server.fault("a compressed message from the agent")
            self.queue.put(bytes(self.inbox[5 : 5 + length]))
            del self.inbox[: 5 + length]

    def half_closed(self):
        self.queue.put(None)

    def was_reset(self, code):
        self.is_over = True
        if self.reset_code is None:
            self.reset_code = code
        self.queue.put(None)

    def message(self):
        """The next message of the agent; None at the end of the stream."""
        return self.queue.get()

    # Answers.

    def send_headers(self, extra=(), status="200", content_type="application/grpc", end=False):
        headers = [(":status", status)]
        if content_type:
            headers.append(("content-type", content_type))
        self.headers_sent = True
        self._h2(lambda h: h.send_headers(self.stream_id, headers + list(extra), end_stream=end))
        self.is_over = self.is_over or end

    def send_message(self, message, pad=None, compressed=0, piece=None):
        with self.sending:
            self.send_data(struct.pack(">BI", compressed, len(message)) + message, pad, piece)

    def send_data(self, data, pad=None, piece=None, end=False):
        """Honours the agent's windows: waits until there is room, until the stream is over."""
        connection, at = self.connection, 0
        while at < len(data) or (end and not data):
            with connection.changed:
                if self.is_over or connection.closed is not None:
                    return
                try:
                    room = min(connection.h2.local_flow_control_window(self.stream_id),
                               connection.h2.max_outbound_frame_size)
                except h2.exceptions.ProtocolError:
                    self.is_over = True
                    return
                if pad is not None:
                    room -= pad + 1
                if room <= 0 and data:
                    connection.changed.wait(0.5)
                    continue
                part = data[at : at + min(room, piece or room)]
                at += len(part)
                try:
                    connection.h2.send_data(self.stream_id, part, pad_length=pad,
                                            end_stream=end and at == len(data))
                except h2.exceptions.ProtocolError:
                    self.is_over = True
                    return
                connection.flush()
            if end and not data:
                return

    def send_trailers(self, status=OK, message="", extra=()):
        trailers = [("grpc-status", str(status))]
        if message:
            trailers.append(("grpc-message", message))
        self._h2(lambda h: h.send_headers(self.stream_id, trailers + list(extra), end_stream=True))
        self.is_over = True

    def trailers_only(self, status, message=""):
        extra = [("grpc-status", str(status))]
        if message:
            extra.append(("grpc-message", message))
        self.send_headers(extra, end=True)

    def answer(self, message):
        self.send_headers()
        self.send_message(message)
        self.send_trailers()

    def reset(self, code=8):
        self._h2(lambda h: h.reset_stream(self.stream_id, code))
        self.was_reset(code)

    def _h2(self, action):
        with self.connection.lock:
            if self.connection.closed is not None:
                return
            try:
                action(self.connection.h2)
            except h2.exceptions.ProtocolError:
                self.is_over = True
                return
            self.connection.flush()


class Watch:
    """A watch the agent created. Sends what it is told to; the server's default feeds it events."""

    def __init__(self, call, request, watch_id):
        self.call = call
        self.id = watch_id
        self.key = request.key
        self.range_end = request.range_end
        self.start = request.start_revision
        self.request = request
        self.is_live = False
        self.is_cancelled = False  # by the agent
        self.backlog = None

    @property
    def server(self):
        return self.call.server

    def feed(self, events):
        """Events of the model: sent by a thread, for the agent may hold its window closed."""
        if self.backlog is None:
            self.backlog = queue.Queue()
            threading.Thread(target=self._send_backlog, daemon=True).start()
        self.backlog.put({"events": events, "header": self.server.header(), "watch_id": self.id})

    def _send_backlog(self):
        while True:
            response = self.backlog.get()
            if self.is_open and not self.is_cancelled:
                self.call.send_message(proto.watch_response(**response))
            self.backlog.task_done()

    def send(self, **response):
        """A response of the test's own, after what the model has sent."""
        if self.backlog is not None:
            self.backlog.join()
        response.setdefault("header", self.server.header())
        response.setdefault("watch_id", self.id)
        self.call.send_message(proto.watch_response(**response))

    def created(self, **response):
        self.send(created=True, **response)

    def events(self, events, **response):
        with self.server.lock:
            newest = max((e.kv.mod_revision for e in events if isinstance(e, Event)), default=0)
            self.server.revision = max(self.server.revision, newest)
        self.send(events=events, **response)

    def progress(self, revision=None, watch_id=None):
        self.send(header=self.server.header(revision),
                  watch_id=self.id if watch_id is None else watch_id)

    def cancel(self, reason="", compact_revision=0, **response):
        self.is_live = False
        self.send(canceled=True, cancel_reason=reason, compact_revision=compact_revision, **response)

    @property
    def is_open(self):
        return not self.call.is_over and self.call.connection.closed is None


class FakeEtcd:
    def __init__(self, ssl_context=None, host="127.0.0.1", port=None, settings=None):
        self.ssl_context = ssl_context
        self.host = host
        self.port = port or wait.free_port(host)
        self.settings = settings or {}  # of HTTP/2
        # What it is.
        self.cluster_id, self.member_id, self.raft_term = 0x1001, 0x2002, 7
        self.version = "3.5.21"
        self.users = None  # {name: password} once authentication is on
        self.token_serial = 0
        self.tokens = set()
        # What it holds.
        self.revision = 1
        self.compacted = 0
        self.history = []  # events in revision order
        self.answers_pings = True
        # What happened.
        self.lock = threading.RLock()
        self.connections = []
        self.calls = []
        self.watches = []
        self.faults = []
        self.handshake_errors = []
        # What a test may replace: a function of the Call; of a new Watch; of a new Connection.
        self.on = {}
        self.on_watch = None
        self.on_connect = None
        self.on_page = None  # of a Range call of more than one key and its number, from 1
        self.pages = 0
        self.listener = None
        self.listen()

    # Life.

    @property
    def url(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.ssl_context else 'http'}://{host}:{self.port}"

    def listen(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self):
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def cut(self, rst=False):
        for connection in list(self.connections):
            connection.close(rst)

    def stop(self):
        self.refuse()
        self.cut()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # An agent that reads nothing more must not hang the test.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))
        if self.ssl_context is not None:
            try:
                sock = self.ssl_context.wrap_socket(sock, server_side=True)
            except OSError as error:
                self.handshake_errors.append(str(error))
                return
        connection = Connection(self, sock)
        with self.lock:
            self.connections.append(connection)
        if self.on_connect is not None:
            try:
                if self.on_connect(connection):
                    return
            except OSError:
                return
        connection.run()

    def fault(self, text):
        self.faults.append(text)

    # Calls.

    def started(self, call):
        # Under the connection's lock: the server's own must not be taken here, for a change of the
        # model takes them the other way round.
        self.calls.append(call)
        threading.Thread(target=self._run_call, args=(call,), daemon=True).start()

    def _run_call(self, call):
        try:
            handler = self.on.get(call.method)
            if handler is not None and handler(call) is not False:
                return
            default = getattr(self, "serve_" + call.method.lower(), None)
            if default is None:
                call.trailers_only(UNIMPLEMENTED, f"unknown method {call.method}")
            else:
                default(call)
        except OSError:
            pass
        except Exception:
            self.fault(traceback.format_exc())

    def calls_of(self, method):
        return [c for c in list(self.calls) if c.method == method]

    def header(self, revision=None):
        with self.lock:
            return proto.header(self.cluster_id, self.member_id,
                                self.revision if revision is None else revision, self.raft_term)

    def refuses(self, call):
        """Authentication: True when the call was answered with an error."""
        token = call.headers.get("token")
        if self.users is None or token in self.tokens:
            return False
        if token is None:
            call.trailers_only(INVALID_ARGUMENT, "etcdserver: user name is empty")
        else:
            call.trailers_only(UNAUTHENTICATED, "etcdserver: invalid auth token")
        return True

    def serve_authenticate(self, call):
        fields = proto.decode(call.message() or b"")
        name, password = (proto.one(fields, i, b"").decode() for i in (1, 2))
        call.request = SimpleNamespace(name=name, password=password)
        if self.users is None:
            call.trailers_only(FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
        elif self.users.get(name) != password:
            call.trailers_only(INVALID_ARGUMENT,
                               "etcdserver: authentication failed, invalid user ID or password")
        else:
            self.token_serial += 1
            token = f"token.{self.token_serial}"
            self.tokens.add(token)
            call.answer(proto.encode((1, self.header()), (2, token)))

    def serve_status(self, call):
        call.message()
        if not self.refuses(call):
            call.answer(proto.encode((1, self.header()), (2, self.version), (3, 4096),
                                     (4, self.member_id), (6, self.raft_term)))

    def serve_range(self, call):
        call.request = request = proto.decode_range_request(call.message() or b"")
        if self.refuses(call):
            return
        if request.range_end:
            self.pages += 1
            if self.on_page is not None and self.on_page(call, self.pages):
                return
        self.answer_range(call)

    def answer_range(self, call):
        request = call.request
        with self.lock:
            if request.revision > self.revision:
                return call.trailers_only(
                    OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
            if request.revision and request.revision < self.compacted:
                return call.trailers_only(OUT_OF_RANGE, COMPACTED)
            kvs = self.listing(request.key, request.range_end, request.revision or self.revision)
            count, more = len(kvs), False
            if request.limit and count > request.limit:
                kvs, more = kvs[: request.limit], True
            if request.count_only:
                kvs = []
            if request.keys_only:
                kvs = [KeyValue(k.key, b"", k.create_revision, k.mod_revision, k.version, k.lease)
                       for k in kvs]
            answer = proto.range_response(self.header(), kvs, more, count)
        call.answer(answer)

    def serve_watch(self, call):
        if self.refuses_watch(call):
            return
        next_id = 0
        while True:
            message = call.message()
            if message is None:
                return
            request = proto.decode_watch_request(message)
            call.requests.append(request)
            if request.create is not None:
                if not call.headers_sent:
                    call.send_headers()
                watch = Watch(call, request.create, request.create.watch_id or next_id)
                next_id += 1
                with self.lock:
                    self.watches.append(watch)
                if self.on_watch is None or self.on_watch(watch) is False:
                    self.serve(watch)
            elif request.cancel_id is not None:
                for watch in self.watches:
                    if watch.call is call and watch.id == request.cancel_id and watch.is_live:
                        watch.is_cancelled = True
                        watch.cancel()
            elif request.progress:
                call.send_message(proto.watch_response(header=self.header(), watch_id=-1))

    def refuses_watch(self, call):
        """etcd answers a watch without rights by created and canceled in one."""
        token = call.headers.get("token")
        if self.users is None or token in self.tokens:
            return False
        message = call.message()
        if message is not None:
            call.requests.append(proto.decode_watch_request(message))
            call.send_headers()
            reason = "invalid auth token" if token else "user name is empty"
            code = "Unauthenticated" if token else "InvalidArgument"
            call.send_message(proto.watch_response(
                header=self.header(), watch_id=-1, created=True, canceled=True,
                cancel_reason=f"rpc error: code = {code} desc = etcdserver: {reason}"))
        return True

    def serve(self, watch):
        """The faithful behaviour of a watch that was just created: call it from on_watch."""
        with self.lock:
            watch.created()
            start = watch.start or self.revision + 1
            if start < self.compacted:
                watch.send(header=b"", canceled=True, compact_revision=self.compacted,
                           cancel_reason="etcdserver: mvcc: required revision has been compacted")
                return
            watch.start = start
            self._feed(watch, [e for e in self.history if e.kv.mod_revision >= start])
            watch.is_live = True

    def _feed(self, watch, events):
        matching = [e for e in events if e.kv.mod_revision >= watch.start
                    and proto.in_range(e.kv.key, watch.key, watch.range_end)]
        if matching:
            watch.feed(matching)

    # The model. Every change gives the new revision.

    def listing(self, key, range_end, revision):
        state = {}
        for event in self.history:
            if event.kv.mod_revision > revision:
                break
            if event.type == PUT:
                state[event.kv.key] = event.kv
            else:
                state.pop(event.kv.key, None)
        return [state[k] for k in sorted(state) if proto.in_range(k, key, range_end)]

    def put(self, key, value=b""):
        return self.txn([("put", key, value)])

    def delete(self, key):
        return self.txn([("delete", key)])

    def txn(self, ops, send=True):
        with self.lock:
            self.revision += 1
            before = {kv.key: kv for kv in self.listing(b"\0", b"\0", self.revision)}
            events = []
            for op in ops:
                old = before.get(op[1])
                if op[0] == "put":
                    kv = KeyValue(op[1], op[2], old.create_revision if old else self.revision,
                                  self.revision, old.version + 1 if old else 1)
                    events.append(Event(PUT, kv, old))
                elif old:
                    events.append(Event(DELETE, KeyValue(op[1], mod_revision=self.revision), old))
            bare = [Event(e.type, e.kv) for e in events]
            self.history += bare
            if send:
                for watch in [w for w in self.watches if w.is_live and w.is_open]:
                    self._feed(watch, events if watch.request.prev_kv else bare)
            return self.revision

    def compact(self, revision):
        with self.lock:
            self.compacted = revision

    # Waiting for the agent.

    def wait_calls(self, method, count=1, timeout_s=10.0):
        wait.until(lambda: len(self.calls_of(method)) >= count, timeout_s, f"{count} {method} calls")
        return self.calls_of(method)[count - 1]

    def wait_watches(self, count=1, timeout_s=10.0):
        """The count-th watch ever created."""
        wait.until(lambda: len(self.watches) >= count, timeout_s, f"{count} watches")
        return self.watches[count - 1]

    def wait_connections(self, count=1, timeout_s=10.0):
        wait.until(lambda: len(self.connections) >= count, timeout_s, f"{count} connections")
        return self.connections[count - 1]

    def probes(self):
        """Range requests for a single key: what the probe is."""
        return [c for c in self.calls_of("Range")
                if c.request is not None and not c.request.range_end]


class RawServer:
    """Accepts connections and gives each socket to a function, in a thread. No HTTP/2 at all."""

    def __init__(self, serve, ssl_context=None):
        self.port = wait.free_port()
        self.connections = []  # times of accept
        self.sockets = []
        self.serve = serve
        self.ssl_context = ssl_context
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(time.monotonic())
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.ssl_context is not None:
                sock = self.ssl_context.wrap_socket(sock, server_side=True)
            self.sockets.append(sock)
            self.serve(sock)
        except OSError:
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            sock.close()


def _without_ping_acks(data):
    kept, at = bytearray(), 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        if not (data[at + 3] == PING and data[at + 4] & 1):
            kept += data[at : at + 9 + length]
        at += 9 + length
    return bytes(kept)

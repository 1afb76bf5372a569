# SPDX-License-Identifier: Apache-2.0
"""
A small and fast client of etcd: HTTP/2 and gRPC over a blocking socket, thousands of calls a second
on one connection. It shares no code with the program under test.
"""

import socket
import struct
from collections import deque

import hpack

from . import proto

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 0x20
MAX_WINDOW = (1 << 31) - 1
PERMISSION_DENIED = 7


class GrpcError(Exception):
    def __init__(self, code, message):
        super().__init__(f"gRPC status {code}: {message}")
        self.code = code
        self.message = message


class _Stream:
    def __init__(self, window):
        self.window = window
        self.headers = {}
        self.body = bytearray()
        self.ended = False
        self.reset = None


class Http2:
    """One connection. Single-threaded: it reads only while somebody waits for an answer."""

    def __init__(self, host, port, ssl_context=None, server_name=None, timeout_s=15):
        self.sock = socket.create_connection((host, port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ssl_context is not None:
            self.sock = ssl_context.wrap_socket(self.sock, server_hostname=server_name or host)
        self.authority = f"{server_name or host}:{port}"
        self.scheme = "https" if ssl_context else "http"
        self.decoder = hpack.Decoder()
        self.inbox = bytearray()
        self.streams = {}
        self.next_id = 1
        self.window = 65535
        self.initial_window = 65535
        self.received = 0
        self.goaway = None
        self.header_cache = {}
        self.block = None
        self.sock.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, struct.pack(">HIHI", 4, MAX_WINDOW, 2, 0))
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MAX_WINDOW - 65535)))

    def close(self):
        self.sock.close()

    def open(self, path, metadata=()):
        """Starts a call; returns its stream id."""
        key = (path, tuple(metadata))
        block = self.header_cache.get(key)
        if block is None:
            block = b"".join(
                literal(n, v) for n, v in [
                    (":method", "POST"), (":scheme", self.scheme), (":path", path),
                    (":authority", self.authority), ("content-type", "application/grpc"),
                    ("te", "trailers"), *metadata])
            self.header_cache[key] = block
        sid = self.next_id
        self.next_id += 2
        self.streams[sid] = _Stream(self.initial_window)
        self.sock.sendall(frame(HEADERS, END_HEADERS, sid, block))
        return sid

    def send(self, sid, message, end=False):
        data = struct.pack(">BI", 0, len(message)) + message
        stream = self.streams[sid]
        at = 0
        while at < len(data):
            room = min(self.window, stream.window, 16384, len(data) - at)
            if room <= 0:
                self.read_frame()
                if stream.ended:
                    return
                continue
            last = end and at + room == len(data)
            self.sock.sendall(frame(DATA, END_STREAM if last else 0, sid, data[at : at + room]))
            self.window -= room
            stream.window -= room
            at += room

    def take_message(self, sid):
        """The next whole message of a stream, or None when it has none yet."""
        body = self.streams[sid].body
        if len(body) < 5:
            return None
        length = struct.unpack(">I", body[1:5])[0]
        if len(body) < 5 + length:
            return None
        message = bytes(body[5 : 5 + length])
        del body[: 5 + length]
        return message

    def wait_message(self, sid):
        """The next message; GrpcError when the stream ends instead."""
        while True:
            message = self.take_message(sid)
            if message is not None:
                return message
            if self.streams[sid].ended:
                raise self.error_of(sid)
            self.read_frame()

    def error_of(self, sid):
        stream = self.streams[sid]
        if stream.reset is not None:
            return GrpcError(-1, f"RST_STREAM {stream.reset}")
        status = stream.headers.get("grpc-status")
        return GrpcError(int(status) if status is not None else -1,
                         stream.headers.get("grpc-message", ""))

    def finish(self, sid):
        """Waits for the end of a unary call and returns its message."""
        stream = self.streams[sid]
        while not stream.ended:
            self.read_frame()
        message = self.take_message(sid)
        failed = stream.headers.get("grpc-status") != "0" or message is None
        error = self.error_of(sid) if failed else None
        del self.streams[sid]
        if error is not None:
            raise error
        return message

    def read_frame(self):
        while len(self.inbox) < 9 or len(self.inbox) < 9 + int.from_bytes(self.inbox[:3], "big"):
            data = self.sock.recv(262144)
            if not data:
                raise ConnectionError(f"closed by the server (GOAWAY: {self.goaway})")
            self.inbox += data
        length = int.from_bytes(self.inbox[:3], "big")
        kind, flags = self.inbox[3], self.inbox[4]
        sid = int.from_bytes(self.inbox[5:9], "big") & MAX_WINDOW
        payload = bytes(self.inbox[9 : 9 + length])
        del self.inbox[: 9 + length]
        stream = self.streams.get(sid)
        if kind == DATA:
            self.received += length
            if self.received > 1 << 29:
                self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self.received)))
                self.received = 0
            if stream is not None:
                stream.body += unpad(flags, payload)
        elif kind == HEADERS:
            payload = unpad(flags, payload)
            self.block = bytearray(payload[5:] if flags & PRIORITY else payload)
            self.block_ends = flags & END_STREAM
        elif kind == CONTINUATION:
            self.block += payload
        elif kind == RST_STREAM and stream is not None:
            stream.reset = int.from_bytes(payload, "big")
            stream.ended = True
        elif kind == SETTINGS and not flags & ACK:
            for i in range(0, length, 6):
                ident, value = struct.unpack(">HI", payload[i : i + 6])
                if ident == 4:
                    for s in self.streams.values():
                        s.window += value - self.initial_window
                    self.initial_window = value
            self.sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.sock.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = payload
        elif kind == WINDOW_UPDATE:
            if sid == 0:
                self.window += int.from_bytes(payload, "big")
            elif stream is not None:
                stream.window += int.from_bytes(payload, "big")
        if kind in (HEADERS, CONTINUATION) and flags & END_HEADERS:
            headers = self.decoder.decode(bytes(self.block))
            if stream is not None:
                stream.headers.update(headers)
                stream.ended = stream.ended or bool(self.block_ends)
        elif kind == DATA and flags & END_STREAM and stream is not None:
            stream.ended = True


def frame(kind, flags, sid, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", sid) + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding (RFC 7541 6.2.2)."""
    name, value = name.encode(), value.encode()
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text):
    if len(text) < 127:
        return bytes([len(text)])
    return b"\x7f" + proto.varint(len(text) - 127)


def unpad(flags, payload):
    if flags & PADDED:
        return payload[1 : len(payload) - payload[0]]
    return payload


class EtcdClient:
    """The calls the tests make. Keys and values are bytes; calls that write return the revision."""

    def __init__(self, host, port, ssl_context=None, server_name=None, user=None):
        self.http = Http2(host, port, ssl_context, server_name)
        self.metadata = ()
        self.last_header = None
        self.is_root = user is not None and user[0] == "root"
        if user is not None:
            self.login(*user)

    def close(self):
        self.http.close()

    def call(self, method, message):
        """
        Root may do everything. etcd 3.5 denies it now and then all the same, while it applies the login of
        another user: nothing was written then, and the call is made again.
        """
        for is_last in (False, False, True):
            sid = self.http.open("/etcdserverpb." + method, self.metadata)
            self.http.send(sid, message, end=True)
            try:
                return self.http.finish(sid)
            except GrpcError as error:
                if is_last or not self.is_root or error.code != PERMISSION_DENIED:
                    raise

    def _header(self, answer):
        fields = proto.decode(answer)
        self.last_header = proto.decode_header(proto.one(fields, 1, b""))
        return fields

    def _write(self, method, message):
        self._header(self.call(method, message))
        return self.last_header.revision

    def login(self, name, password):
        fields = self._header(self.call("Auth/Authenticate", proto.encode((1, name), (2, password))))
        token = proto.one(fields, 2).decode()
        self.metadata = (("token", token),)
        return token

    def put(self, key, value=b"", lease=0):
        return self._write("KV/Put", proto.put_request(key, value, lease))

    def put_many(self, pairs, in_flight=64):
        """One revision each, pipelined; in which order is the server's choice. The highest one."""
        waiting, revision = deque(), 0
        for key, value in pairs:
            sid = self.http.open("/etcdserverpb.KV/Put", self.metadata)
            self.http.send(sid, proto.put_request(key, value), end=True)
            waiting.append(sid)
            if len(waiting) >= in_flight:
                self._header(self.http.finish(waiting.popleft()))
                revision = max(revision, self.last_header.revision)
        for sid in waiting:
            self._header(self.http.finish(sid))
            revision = max(revision, self.last_header.revision)
        return revision

    def delete(self, key, range_end=b""):
        return self._write("KV/DeleteRange", proto.delete_request(key, range_end))

    def txn(self, ops):
        return self._write("KV/Txn", proto.txn_request(ops))

    def compact(self, revision, physical=True):
        return self._write("KV/Compact", proto.encode((1, revision), (2, physical)))

    def range(self, key, range_end=b"", **options):
        answer = proto.decode_range_response(
            self.call("KV/Range", proto.range_request(key, range_end, **options)))
        self.last_header = answer.header
        return answer

    def get(self, key):
        kvs = self.range(key).kvs
        return kvs[0] if kvs else None

    def revision(self):
        return self.range(b"\0").header.revision

    def grant(self, ttl_s, lease=0):
        fields = self._header(self.call("Lease/LeaseGrant", proto.encode((1, ttl_s), (2, lease))))
        return proto.signed(proto.one(fields, 2))

    def revoke(self, lease):
        return self._write("Lease/LeaseRevoke", proto.encode((1, lease)))

    def status(self):
        fields = self._header(self.call("Maintenance/Status", b""))
        return {"version": proto.one(fields, 2, b"").decode(), "leader": proto.one(fields, 4)}

    def watch(self, key, range_end=b"", start_revision=0, **options):
        """Opens a watch; responses come from next_response()."""
        sid = self.http.open("/etcdserverpb.Watch/Watch", self.metadata)
        self.http.send(sid, proto.watch_create(key, range_end, start_revision, **options))
        return sid

    def next_response(self, sid):
        return proto.decode_watch_response(self.http.wait_message(sid))

    # Authentication: users, roles, the switch.

    def auth_enable(self):
        self.call("Auth/AuthEnable", b"")

    def auth_disable(self):
        self.call("Auth/AuthDisable", b"")

    def user_add(self, name, password):
        self.call("Auth/UserAdd", proto.encode((1, name), (2, password)))

    def user_change_password(self, name, password):
        self.call("Auth/UserChangePassword", proto.encode((1, name), (2, password)))

    def user_grant_role(self, name, role):
        self.call("Auth/UserGrantRole", proto.encode((1, name), (2, role)))

    def role_add(self, role):
        self.call("Auth/RoleAdd", proto.encode((1, role)))

    def role_grant(self, role, key, range_end=b"", kind=2):
        """kind: 0 read, 1 write, 2 both."""
        permission = proto.encode((1, kind), (2, key), (3, range_end))
        self.call("Auth/RoleGrantPermission", proto.encode((1, role), (2, permission)))

    def role_revoke(self, role, key, range_end=b""):
        self.call("Auth/RoleRevokePermission", proto.encode((1, role), (2, key), (3, range_end)))

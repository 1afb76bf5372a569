# SPDX-License-Identifier: Apache-2.0
"""
A server that does one thing fast: it answers a watch with many small events, one WatchResponse and
one DATA frame each, as a busy etcd does. It exists because no real server sends single events as
fast as a client can take them.
"""

import os
import select
import socket
import struct
import sys
import threading

import hpack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from harness import proto  # noqa: E402

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ANSWER = ((":status", "200"), ("content-type", "application/grpc"))
DONE = (("grpc-status", "0"),)


def frame(kind, flags, sid, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, sid) + payload


def message(payload):
    return b"\0" + struct.pack(">I", len(payload)) + payload


def header(revision):
    return proto.encode((1, 0x1234), (2, 0x5678), (3, revision), (4, 2))


class EventServer:
    """Serves count events under prefix to each watch that is opened, after its "created"."""

    def __init__(self, count, prefix, value):
        self.events = []
        for i in range(count):
            rev = i + 2
            kv = proto.encode((1, prefix + b"%08d" % i), (2, rev), (3, rev), (4, 1), (5, value))
            self.events.append(message(proto.encode((1, header(rev)), (11, proto.encode((2, kv))))))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            Connection(connection, self.events).run()
        except OSError:
            pass
        finally:
            connection.close()


class Connection:
    def __init__(self, sock, events):
        self.sock = sock
        self.events = events
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.paths = {}
        self.window = self.initial = 65535
        self.watch, self.watch_window, self.next = 0, 0, 0
        self.data = b""

    def run(self):
        self.sock.sendall(frame(SETTINGS, 0, 0))
        self._need(24)
        self.data = self.data[24:]
        while True:
            wants = [self.sock] if self._can_send() else []
            readable, writable, _ = select.select([self.sock], wants, [])
            if readable:
                more = self.sock.recv(1 << 16)
                if not more:
                    return
                self.data += more
                self._frames()
            if writable:
                self._send_events()

    def _need(self, n):
        while len(self.data) < n:
            more = self.sock.recv(1 << 16)
            if not more:
                raise OSError("closed")
            self.data += more

    def _frames(self):
        while len(self.data) >= 9:
            length = int.from_bytes(self.data[:3], "big")
            if len(self.data) < 9 + length:
                return
            kind, flags = self.data[3], self.data[4]
            sid = int.from_bytes(self.data[5:9], "big") & 0x7FFFFFFF
            payload, self.data = self.data[9:9 + length], self.data[9 + length:]
            self._frame(kind, flags, sid, payload)

    def _frame(self, kind, flags, sid, payload):
        if kind == SETTINGS and not flags & 1:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == 4:
                    self.initial = value
            self.sock.sendall(frame(SETTINGS, 1, 0))
        elif kind == PING and not flags & 1:
            self.sock.sendall(frame(PING, 1, 0, payload))
        elif kind == WINDOW_UPDATE:
            step = int.from_bytes(payload, "big")
            if sid == 0:
                self.window += step
            elif sid == self.watch:
                self.watch_window += step
        elif kind == HEADERS:
            if flags & 0x20:
                payload = payload[5:]
            fields = dict((k, v) for k, v in self.decoder.decode(payload))
            self.paths[sid] = fields[":path"]
        elif kind == DATA and payload:
            self.sock.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
            self._request(sid)

    def _request(self, sid):
        path = self.paths.get(sid)
        head = frame(HEADERS, 4, sid, self.encoder.encode(ANSWER))
        if path == "/etcdserverpb.Watch/Watch":
            if self.watch:
                return
            self.watch, self.watch_window = sid, self.initial
            created = message(proto.encode((1, header(1)), (3, 1)))
            self.sock.sendall(head + frame(DATA, 0, sid, created))
            self.window -= len(created)
            self.watch_window -= len(created)
            return
        answer = proto.encode((1, header(1 << 40)))
        if path == "/etcdserverpb.Maintenance/Status":
            answer += proto.encode((2, b"3.5.30"))
        body = message(answer)
        self.window -= len(body)
        self.sock.sendall(head + frame(DATA, 0, sid, body)
                          + frame(HEADERS, 5, sid, self.encoder.encode(DONE)))

    def _can_send(self):
        return (self.watch and self.next < len(self.events)
                and min(self.window, self.watch_window) >= len(self.events[self.next]))

    def _send_events(self):
        out, room = [], min(self.window, self.watch_window, 1 << 15)
        while self.next < len(self.events) and len(self.events[self.next]) <= room:
            event = self.events[self.next]
            out.append(frame(DATA, 0, self.watch, event))
            room -= len(event)
            self.window -= len(event)
            self.watch_window -= len(event)
            self.next += 1
        self.sock.sendall(b"".join(out))

# SPDX-License-Identifier: Apache-2.0
"""
A service that batches are POSTed to, over HTTP, HTTPS or a local socket. It keeps what it was sent and behaves as it is told: any
answer, at any pace, or a cut at any stage.
"""

import os
import socket
import threading
import time

from . import wait
from .agent import parse


class Received:
    """One request, as far as it came."""

    def __init__(self, connection):
        self.connection = connection  # its number
        self.begun = time.monotonic()
        self.ended = None
        self.method = self.target = None
        self.headers = {}  # names in lower case
        self.body = b""
        self.is_whole = False

    @property
    def lines(self):
        assert self.is_whole and self.body.endswith(b"\n"), "half a body"
        return [parse(line) for line in self.body.split(b"\n")[:-1]]

    @property
    def keys(self):
        return [e["key"] for e in self.lines if e["type"] in ("put", "delete")]

    @property
    def revision(self):
        return int(self.headers["etchlet-revision"])

    @property
    def idempotency_key(self):
        return self.headers["idempotency-key"]


class Cut(Exception):
    """The connection ends here, as the plan says."""


class Receiver:
    """
    plan(default) or plan(default, r3={...}): the third request is answered by that. How a request is answered:

        status, headers, body    200, {}, b"" when not told
        cut                      "accept", "headers", "body", "after" (all of it has come), "answer", "answer body"
        rst                      a cut is a reset
        wait_s                   before the answer
        gate                     a name: not answered before open_gate(name)
        read_s                   before each 64 KB that are read
        endless                  the answer's body goes on and on; with pace_s, a byte at a time
        early                    answered before the body is read
        close                    the connection is not kept
    """

    def __init__(self, tls=None, unix_path=None, port=None):
        self.unix_path = unix_path
        self.tls = tls
        self.requested_port = port
        self.requests = []
        self.connections = 0
        self.plans = {}
        self.lock = threading.Lock()
        self.gates = set()
        self.listener = None
        self.sockets = set()
        self.port = None

    # Life.

    def start(self):
        if self.unix_path:
            if os.path.exists(self.unix_path):
                os.unlink(self.unix_path)
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.unix_path)
        else:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port or self.requested_port or 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen(16)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        listener, self.listener = self.listener, None
        if listener:
            # Wakes the thread that waits there.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        with self.lock:
            sockets = list(self.sockets)
        for s in sockets:
            _drop(s, False)

    def url(self, path="/"):
        if self.unix_path:
            return f"unix:{self.unix_path}" + ("" if path == "/" else f":{path}")
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    # What it does.

    def plan(self, default=None, **by_number):
        """Counted from the first request there ever was."""
        with self.lock:
            self.plans = {int(name[1:]): how for name, how in by_number.items()}
            self.plans[0] = default or {}

    def open_gate(self, name="gate"):
        self.gates.add(name)

    # What it got.

    @property
    def whole(self):
        return [r for r in self.requests if r.is_whole]

    def wait(self, count, timeout_s=10.0, what=None):
        """That many whole requests; all of them."""
        wait.until(lambda: len(self.whole) >= count, timeout_s,
                   what or f"{count} requests (there are {len(self.whole)})", 0.01)
        return self.whole

    def wait_begun(self, count, timeout_s=10.0):
        wait.until(lambda: len(self.requests) >= count, timeout_s,
                   f"{count} requests have begun (there are {len(self.requests)})", 0.01)
        return self.requests

    def wait_key(self, key, timeout_s=10.0):
        """The first whole request with this key."""
        def search():
            return next((r for r in self.whole if key in r.keys), None)
        return wait.until(search, timeout_s, f"a POST with {key}", 0.01)

    # Below.

    def _accept(self, listener):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
                self.sockets.add(s)
            threading.Thread(target=self._serve, args=(s, number), daemon=True).start()

    def _how(self, ahead=0):
        with self.lock:
            number = len(self.requests) + ahead
            return self.plans.get(number, self.plans.get(0, {}))

    def _serve(self, plain, number):
        s, how = plain, {}
        try:
            how = self._how(1)
            if how.get("cut") == "accept":
                self.requests.append(Received(number))
                raise Cut
            if self.tls:
                s = self.tls.wrap_socket(plain, server_side=True)
                with self.lock:
                    self.sockets.add(s)
            data = b""
            while True:
                data = self._head(s, data)
                if data is None:
                    break
                with self.lock:
                    request = Received(number)
                    self.requests.append(request)
                how = self._how()
                data = self._request(s, request, how, data)
                request.ended = time.monotonic()
                if how.get("close"):
                    break
        except (Cut, OSError):
            pass
        finally:
            _drop(s, how.get("rst"))
            _drop(plain, how.get("rst"))
            with self.lock:
                self.sockets -= {s, plain}

    def _head(self, s, data):
        while not data:
            data = s.recv(65536)
            if not data:
                return None
        return data

    def _request(self, s, request, how, data):
        if how.get("cut") == "headers":
            raise Cut
        while b"\r\n\r\n" not in data:
            data += _more(s)
        head, data = data.split(b"\r\n\r\n", 1)
        first, *rest = head.decode("latin-1").split("\r\n")
        request.method, request.target, version = first.split(" ")
        assert version == "HTTP/1.1"
        for line in rest:
            name, value = line.split(": ", 1) if ": " in line else (line.rstrip(":"), "")
            assert name.lower() not in request.headers, f"{name} twice"
            request.headers[name.lower()] = value
        if how.get("early"):
            self._answer(s, how)
        length = int(request.headers["content-length"])
        while len(data) < length:
            if how.get("cut") == "body" and len(data) >= how.get("cut_at", 0):
                request.body = data
                raise Cut
            time.sleep(how.get("read_s", 0))
            data += _more(s)
        request.body, data = data[:length], data[length:]
        request.is_whole = True
        if how.get("cut") in ("after", "body"):
            raise Cut
        time.sleep(how.get("wait_s", 0))
        while how.get("gate") and how["gate"] not in self.gates:
            if self.listener is None:
                raise Cut
            time.sleep(0.005)
        if not how.get("early"):
            self._answer(s, how)
        return data

    def _answer(self, s, how):
        body = how.get("body", b"")
        status = how.get("status", 200)
        headers = {"Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()), **how.get("headers", {})}
        if how.get("cut") == "answer":
            s.sendall(b"HTTP/1.1 20")
            raise Cut
        if how.get("endless"):
            headers["Content-Length"] = str(1 << 40)
        elif how.get("cut") == "answer body":
            headers["Content-Length"] = "1000"
        elif status != 204:
            headers["Content-Length"] = str(len(body))
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        s.sendall(head.encode("latin-1") + body)
        if how.get("cut") == "answer body":
            raise Cut
        while how.get("endless") and self.listener is not None:
            if how.get("pace_s"):
                time.sleep(how["pace_s"])
            s.sendall(b"x" if how.get("pace_s") else b"x" * 65536)


def _more(s):
    piece = s.recv(65536)
    if not piece:
        raise Cut
    return piece


def _drop(s, is_reset):
    try:
        if is_reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        else:
            s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    s.close()

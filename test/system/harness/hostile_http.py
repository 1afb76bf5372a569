# SPDX-License-Identifier: Apache-2.0
"""
An HTTP/1.1 server that does what nginx does not: each request is answered by a plan of the test, which may cut,
lie about lengths and ranges, send without end or byte by byte. What was asked is kept.
"""

import socket
import threading
import time
from dataclasses import dataclass, field

from . import wait


@dataclass
class Request:
    method: str
    target: str
    headers: dict  # names in lower case
    at: float
    port: int = 0
    ended: float = None
    sent: int = 0

    @property
    def range_first(self):
        """Where "bytes=N-" begins; None: no Range."""
        text = self.headers.get("range", "")
        return int(text[len("bytes="):].split("-")[0]) if text.startswith("bytes=") else None


@dataclass
class Plan:
    """How one request is answered. data is the whole body that the server has."""
    data: bytes = b""
    status: int = 200
    etag: str = '"1"'  # None: none
    last_modified: str = None
    headers: dict = field(default_factory=dict)  # more of them, or others
    range: str = "right"  # ignore, wrong (another first byte), total (another size), missing (206 without Content-Range), refuse (416)
    if_range: bool = True  # obeyed
    length: object = "right"  # a number, None (none: ends with the connection), chunked
    cut_at: int = None  # bytes of the body, then the connection ends
    rst: bool = False
    stall_at: int = None  # bytes of the body, then nothing more, the connection stays
    endless: bool = False  # the body goes on and on
    piece: int = 65536
    delay_s: float = 0.0  # before each piece
    raw: bytes = None  # in place of everything
    head_delay_s: float = 0.0


class HostileHttp:
    """plans: answers for the next requests, in turn; then default. A plan may be a function of the request."""

    def __init__(self, default=None, context=None):
        self.default = default or Plan()
        self.plans = []
        self.paths = {}  # target: plan, before plans and default
        self.requests = []
        self.context = context
        self.lock = threading.Lock()
        self.is_stopped = False
        self.open = set()
        self.port = wait.free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, name=""):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/{name}"

    def of(self, name):
        with self.lock:
            return [r for r in self.requests if r.target.split("?")[0] == "/" + name]

    def wait_requests(self, count, name=None, timeout_s=10.0):
        def seen():
            with self.lock:
                return len(self.requests)
        wait.until(lambda: (len(self.of(name)) if name else seen()) >= count, timeout_s,
                   f"{count} requests")
        return self.of(name) if name else list(self.requests)

    def cut(self):
        """Every connection, now."""
        with self.lock:
            alive = list(self.open)
        for sock in alive:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.is_stopped = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.cut()

    def _accept(self):
        while not self.is_stopped:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            with self.lock:
                self.open.add(sock)
            while not self.is_stopped and self._one(sock):
                pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    @staticmethod
    def _read_request(sock):
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(65536)
            if not data:
                return None
            head += data
        head, rest = head.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {n.strip().lower(): v.strip() for n, v in (line.split(":", 1) for line in lines[1:])}
        left = int(headers.get("content-length", 0)) - len(rest)
        while left > 0:
            left -= len(sock.recv(65536)) or left
        return Request(method, target, headers, time.monotonic())

    def _one(self, sock):
        request = self._read_request(sock)
        if request is None:
            return False
        with self.lock:
            request.port = sock.getpeername()[1]
            self.requests.append(request)
            plan = self.paths.get(request.target.split("?")[0])
            if plan is None:
                plan = self.plans.pop(0) if self.plans else self.default
        if callable(plan):
            plan = plan(request)
        try:
            return self._answer(sock, request, plan)
        finally:
            request.ended = time.monotonic()

    def _answer(self, sock, request, plan):
        if plan.head_delay_s:
            time.sleep(plan.head_delay_s)
        if plan.raw is not None:
            sock.sendall(plan.raw)
            return False
        status, data, extra = plan.status, plan.data, {}
        first = request.range_first
        known = request.headers.get("if-range")
        is_same = known is None or not plan.if_range or known in (plan.etag, plan.last_modified)
        if status == 200 and first is not None and plan.range != "ignore" and is_same:
            if plan.range == "refuse" or first >= len(plan.data):
                status, data, extra = 416, b"", {"Content-Range": f"bytes */{len(plan.data)}"}
            else:
                status, data = 206, plan.data[first:]
                shown, total = first, len(plan.data)
                if plan.range == "wrong":
                    shown += 1
                if plan.range == "total":
                    total += 1
                if plan.range != "missing":
                    extra = {"Content-Range": f"bytes {shown}-{len(plan.data) - 1}/{total}"}
        headers = {**extra, **plan.headers}
        if plan.etag and status in (200, 206):
            headers.setdefault("ETag", plan.etag)
        if plan.last_modified and status in (200, 206):
            headers.setdefault("Last-Modified", plan.last_modified)
        length = None if plan.endless and plan.length == "right" else plan.length
        if length == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif length is not None:
            headers["Content-Length"] = len(data) if length == "right" else length
        else:
            headers["Connection"] = "close"
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        sock.sendall(head.encode() + b"\r\n")
        return self._send_body(sock, request, plan, data, length)

    def _send_body(self, sock, request, plan, data, length):
        at = 0
        while plan.endless or at < len(data):
            piece = data[at : at + plan.piece] if at < len(data) else b"e" * plan.piece
            for limit in (plan.cut_at, plan.stall_at):
                if limit is not None:
                    piece = piece[: max(limit - at, 0)]
            if plan.delay_s:
                time.sleep(plan.delay_s)
            if piece:
                sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if length == "chunked" else piece)
            at += len(piece)
            request.sent = at
            if plan.stall_at is not None and at >= plan.stall_at:
                sock.settimeout(60)
                while sock.recv(4096):
                    pass
                return False
            if plan.cut_at is not None and at >= plan.cut_at:
                if plan.rst:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return False
        if length == "chunked":
            sock.sendall(b"0\r\n\r\n")
        return length is not None

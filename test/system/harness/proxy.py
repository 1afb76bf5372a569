# SPDX-License-Identifier: Apache-2.0
"""
A faulty TCP proxy. Each connection gets a Plan when it is accepted: where it is cut, how it is
chopped and slowed. The test can also cut, silence and refuse at any moment. Bytes are counted.
"""

import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass

from . import wait


@dataclass
class Plan:
    cut_down: int = None  # bytes towards the agent after which the connection is cut
    cut_up: int = None  # bytes towards the server after which it is cut
    rst: bool = False  # cut with RST in place of FIN
    hold_down: int = None  # bytes towards the agent after which it goes silent, open
    segment: int = 65536  # most bytes sent at once
    delay_s: float = 0.0  # before each segment
    accept_and_close: bool = False


class Link:
    """One connection through the proxy."""

    def __init__(self, near, far, plan):
        self.near = near
        self.far = far
        self.plan = plan
        self.up = 0
        self.down = 0
        self.opened = time.monotonic()
        self.closed = None
        self.lock = threading.Lock()

    def cut(self, rst=False):
        with self.lock:
            if self.closed is not None:
                return
            self.closed = time.monotonic()
        for sock in (self.near, self.far):
            if sock is None:
                continue
            try:
                # A thread may be reading: only the shutdown wakes it and lets the close come true.
                if rst or self.plan.rst:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.shutdown(socket.SHUT_RD)
                else:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def half_close(self):
        """The agent sees the end of the stream; what it sends still goes through."""
        self.near.shutdown(socket.SHUT_WR)


class Proxy:
    def __init__(self, target_port, target_host="127.0.0.1"):
        self.target = (target_host, target_port)
        self.port = wait.free_port()
        self.links = []
        self.plans = deque()  # for the next connections, in turn; then default
        self.default = Plan()
        self.open_gate = threading.Event()
        self.open_gate.set()
        self.listener = None
        self.listen()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self):
        return [link for link in self.links if link.closed is None]

    def listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self):
        """New connections are refused; those that are open stay."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def hold(self):
        """A black hole: connections stay open and are accepted, nothing goes through."""
        self.open_gate.clear()

    def release(self):
        self.open_gate.set()

    def cut(self, rst=False):
        for link in list(self.links):
            link.cut(rst)

    def stop(self):
        self.refuse()
        self.release()
        self.cut()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            plan = self.plans.popleft() if self.plans else self.default
            if plan.accept_and_close:
                link = Link(near, None, plan)
                self.links.append(link)
                link.cut()
                continue
            link = Link(near, None, plan)
            self.links.append(link)
            threading.Thread(target=self._connect, args=(link,), daemon=True).start()

    def _connect(self, link):
        self.open_gate.wait()
        try:
            far = socket.create_connection(self.target, timeout=10)
        except OSError:
            link.cut()
            return
        with link.lock:
            if link.closed is not None:
                far.close()
                return
            link.far = far
        for sock in (link.near, link.far):
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(link, True), daemon=True).start()
        self._pump(link, False)

    def _pump(self, link, is_up):
        source, target = (link.near, link.far) if is_up else (link.far, link.near)
        limit = link.plan.cut_up if is_up else link.plan.cut_down
        hold = None if is_up else link.plan.hold_down
        moved = 0
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                for at in range(0, len(data), link.plan.segment):
                    piece = data[at : at + link.plan.segment]
                    if link.plan.delay_s:
                        time.sleep(link.plan.delay_s)
                    self.open_gate.wait()
                    if hold is not None and moved + len(piece) > hold:
                        target.sendall(piece[: hold - moved])
                        while link.closed is None:
                            time.sleep(0.05)
                        return
                    if limit is not None and moved + len(piece) >= limit:
                        target.sendall(piece[: limit - moved])
                        self._count(link, is_up, limit - moved)
                        link.cut()
                        return
                    target.sendall(piece)
                    moved += len(piece)
                    self._count(link, is_up, len(piece))
        except OSError:
            pass
        link.cut()

    @staticmethod
    def _count(link, is_up, length):
        if is_up:
            link.up += length
        else:
            link.down += length

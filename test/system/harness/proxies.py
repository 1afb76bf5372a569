# SPDX-License-Identifier: Apache-2.0
"""
Proxies that lead to a server: tinyproxy (HTTP) and microsocks (SOCKS5), real programs on free ports of 127.0.0.1; and a
small one of our own that knows names which nobody else does, keeps what it was asked for, and can be told what to say.
"""

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

from . import wait
from .process import die_with_parent, kill_and_reap


class _Program:
    """A proxy in a process of its own, on the same port after each start."""

    scheme = "http"

    def __init__(self, login=None, host="127.0.0.1"):
        self.host = host
        self.port = wait.free_port(host)
        self.login = login  # (user, password)
        self.process = None
        self.directory = tempfile.TemporaryDirectory(prefix="proxy-", dir=os.environ.get("ETCHLET_SCRATCH"))

    @property
    def address(self):
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self):
        """Without the login, as etchlet tells of it."""
        return f"{self.scheme}://{self.address}"

    @property
    def login_url(self):
        return f"{self.scheme}://{':'.join(self.login)}@{self.address}" if self.login else self.url

    def start(self):
        assert shutil.which(self.command()[0]), f"{self.command()[0]} is missing: board/tools/fetch-servers gets it"
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait.until(self._answers, 10, f"{self.url} answers")
        return self

    def _answers(self):
        assert self.process.poll() is None, f"the proxy ended: {self.command()}"
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def kill(self):
        if self.process is not None:
            kill_and_reap(self.process)
            self.process = None

    def stop(self):
        self.kill()
        self.directory.cleanup()


class Tinyproxy(_Program):
    def __init__(self, login=None, host="127.0.0.1", connect_ports=()):
        super().__init__(login, host)
        self.connect_ports = connect_ports  # the only ones that CONNECT may name; none: all

    def command(self):
        lines = [f"Port {self.port}", f"Listen {self.host}", "Timeout 600", "MaxClients 100"]
        lines += [f"ConnectPort {port}" for port in self.connect_ports]
        if self.login:
            lines.append(f"BasicAuth {self.login[0]} {self.login[1]}")
        path = os.path.join(self.directory.name, "tinyproxy.conf")
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
        return ["tinyproxy", "-d", "-c", path]


class Microsocks(_Program):
    scheme = "socks5h"

    def command(self):
        words = ["microsocks", "-i", self.host, "-p", str(self.port)]
        return words + (["-u", self.login[0], "-P", self.login[1]] if self.login else [])


class NamingProxy:
    """CONNECT or SOCKS5 by a thread each: names are those of a table, and asked keeps what it was asked for."""

    def __init__(self, scheme="http", names=None, answer=None):
        self.scheme = scheme
        self.names = names or {}
        self.answer = answer or b"HTTP/1.1 200 Connection established\r\n\r\n"
        self.asked = []  # (host, port) as text
        self.requests = []  # the whole of a CONNECT
        self.sockets = []
        self.port = wait.free_port()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.append(near)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            host, port = self._connect(near) if self.scheme == "http" else self._socks(near)
            self.asked.append((host, port))
            far = socket.create_connection((self.names.get(host, host), port), timeout=10)
            far.settimeout(None)
            self.sockets.append(far)
            near.sendall(self.answer if self.scheme == "http" else b"\5\0\0\1\0\0\0\0\0\0")
            threading.Thread(target=_pump, args=(far, near), daemon=True).start()
            _pump(near, far)
        except OSError:
            near.close()

    def _connect(self, near):
        request = b""
        while b"\r\n\r\n" not in request:
            data = near.recv(4096)
            if not data:
                raise OSError("no request")
            request += data
        self.requests.append(request)
        host, port = request.split(b" ")[1].rsplit(b":", 1)
        return host.decode().strip("[]"), int(port)

    def _socks(self, near):
        def take(count):
            data = near.recv(count, socket.MSG_WAITALL)
            if len(data) < count:
                raise OSError("no request")
            return data
        take(take(2)[1])
        near.sendall(b"\5\0")
        kind = take(4)[3]
        if kind == 3:
            host = take(take(1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, take(size))
        return host, struct.unpack("!H", take(2))[0]

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def _pump(source, target):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

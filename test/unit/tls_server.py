# SPDX-License-Identifier: Apache-2.0
"""TLS servers for test_tls: tls_server.py DIR NAME:CERT[:OPTION...] ...

Each listens on a port of its own, told on standard output as "NAME PORT"; "." ends the list. It
sends one line about the connection, then echoes. Options: 1.2 and 1.3 (that version alone), noalpn,
http11, client (a client certificate is required), dribble (bytes leave one at a time), weak
(whatever OpenSSL takes), small (small buffers of the socket), v6, mute (accepts and never answers), plain (answers as an HTTP/1.1 server
without TLS), bye (closes after the line), http (answers one request with that line, or a redirect to http).
"""

import socket
import ssl
import sys
import threading


def context(folder, cert, options):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if "weak" in options:
        ctx.set_ciphers("DEFAULT@SECLEVEL=0")
    ctx.load_cert_chain(f"{folder}/{cert}.pem", f"{folder}/{cert}.key")
    if "http11" in options:
        ctx.set_alpn_protocols(["http/1.1"])
    elif "noalpn" not in options:
        ctx.set_alpn_protocols(["h2"])
    if "client" in options:
        ctx.verify_mode = ssl.CERT_REQUIRED
        ctx.load_verify_locations(f"{folder}/ca.pem")
    if "1.2" in options:
        ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    if "1.3" in options:
        ctx.minimum_version = ssl.TLSVersion.TLSv1_3

    def remember(tls, name, _ctx):
        tls.asked = name

    ctx.sni_callback = remember
    return ctx


class Peer:
    """One connection, its TLS done in memory so that the bytes can be cut at will."""

    def __init__(self, sock, ctx, options):
        self.sock = sock
        self.options = options
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.into, self.out, server_side=True)
        self.tls.asked = None

    def flush(self):
        data = self.out.read()
        step = 1 if "dribble" in self.options else len(data)
        for i in range(0, len(data), step or 1):
            self.sock.sendall(data[i : i + step])

    def call(self, what, *args):
        while True:
            try:
                result = what(*args)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError from None
                self.into.write(data)
            except ssl.SSLError:
                self.flush()
                raise

    def serve(self):
        self.call(self.tls.do_handshake)
        cert = self.tls.getpeercert() or {}
        who = dict(pair[0] for pair in cert.get("subject", ())).get("commonName")
        line = f"{self.tls.version()} reused={int(self.tls.session_reused)} sni={self.tls.asked} client={who}\n"
        if "http" in self.options:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += self.call(self.tls.read, 65536)
            head = "302 F\r\nLocation: http://127.0.0.1/" if b" /to-http " in asked else "200 OK"
            self.call(self.tls.write, f"HTTP/1.1 {head}\r\nContent-Length: {len(line)}\r\n\r\n{line}".encode())
            return
        self.call(self.tls.write, line.encode())
        if "bye" in self.options:
            return
        while True:
            data = self.call(self.tls.read, 65536)
            if not data:
                return
            self.call(self.tls.write, data)


def talk(sock, ctx, options):
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if "mute" in options:
            while sock.recv(65536):
                pass
        elif "plain" in options:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.recv(65536)
        else:
            Peer(sock, ctx, options).serve()
    except (OSError, EOFError):
        if "http" in options:
            linger(sock)
    finally:
        sock.close()


def linger(sock):
    """What was sent last arrives although the peer has sent what nobody reads."""
    try:
        sock.settimeout(2)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass
    except OSError:
        pass


def listen(sock, ctx, options):
    while True:
        peer, _ = sock.accept()
        threading.Thread(target=talk, args=(peer, ctx, options), daemon=True).start()


def main():
    folder = sys.argv[1]
    for spec in sys.argv[2:]:
        name, cert, *options = spec.split(":")
        family, host = (socket.AF_INET6, "::1") if "v6" in options else (socket.AF_INET, "127.0.0.1")
        sock = socket.socket(family, socket.SOCK_STREAM)
        if "small" in options:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        sock.bind((host, 0))
        sock.listen(16)
        ctx = context(folder, cert, options)
        threading.Thread(target=listen, args=(sock, ctx, options), daemon=True).start()
        print(name, sock.getsockname()[1])
    print(".", flush=True)
    sys.stdin.read()


main()

# SPDX-License-Identifier: Apache-2.0
"""
A real nginx on 127.0.0.1, in a folder of its own and without root's help: files with Range and strong entity
tags, TLS, client certificates, a limited rate, redirects, and statuses that the test switches on and off. What it was asked
for is read back from its log.

    /NAME          the file
    /plain/NAME    without Range            /slow/NAME    at slow_rate bytes a second
    /hopN/NAME     N redirects, 1 to 12     /loop/NAME    without end
    /up/NAME       to https                 /down/NAME    from there to http
    /moved/NAME    301                      /post/        204 to anything, 413 above body_max bytes
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess

from . import wait
from .process import die_with_parent, kill_and_reap

STATUSES = (400, 403, 404, 408, 410, 416, 429, 500, 502, 503)

_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {dir}/pid;
error_log {dir}/error.log warn;
events {{ worker_connections 256; }}
http {{
	types {{ }}
	default_type application/octet-stream;
	client_body_temp_path {dir}/tmp/body;
	proxy_temp_path {dir}/tmp/proxy;
	fastcgi_temp_path {dir}/tmp/fastcgi;
	uwsgi_temp_path {dir}/tmp/uwsgi;
	scgi_temp_path {dir}/tmp/scgi;
	log_format said escape=json '{{"status":$status,"method":"$request_method","uri":"$request_uri","range":"$http_range",'
		'"if_range":"$http_if_range","sent":$body_bytes_sent,"whole":"$request_completion","agent":"$http_user_agent",'
		'"client":"$ssl_client_s_dn","protocol":"$ssl_protocol","port":$server_port,"encoding":"$http_accept_encoding",'
		'"authorization":"$http_authorization","connection":$connection,"time":$msec,"body":"$content_length"}}';
	access_log {dir}/access.log said;
	sendfile off;
	output_buffers 1 16k;
	etag on;
	keepalive_timeout 60s;
	server {{
{listen}
		root {dir}/www;
{hops}
		location /plain/ {{ alias {dir}/www/; max_ranges 0; {switches} }}
		location /slow/ {{ alias {dir}/www/; limit_rate {slow_rate}; {switches} }}
		location /loop/ {{ return 302 $request_uri; }}
		location /moved/ {{ rewrite ^/moved/(.*)$ /$1 permanent; }}
		location /up/ {{ rewrite ^/up/(.*)$ https://127.0.0.1:{tls_port}/$1 redirect; }}
		location /down/ {{ rewrite ^/down/(.*)$ http://127.0.0.1:{port}/$1 redirect; }}
		location /post/ {{ client_max_body_size {body_max}; {switches} return 204; }}
		location / {{ {switches} }}
{extra}
	}}
}}
"""


def program():
    found = shutil.which("nginx")
    assert found, "nginx is missing: board/tools/fetch-servers gets it"
    return found


class Nginx:
    """Started by start(); stop() must be called, which the fixture does."""

    def __init__(self, directory, tls=None, client_ca=None, slow_rate=100000, body_max=1000,
                 retry_after=None, extra=""):
        self.directory = directory
        self.www = os.path.join(directory, "www")
        self.log = os.path.join(directory, "access.log")
        self.port = wait.free_port()
        self.tls = tls  # {"cert", "key"}
        self.client_ca = client_ca  # clients must show a certificate of it
        self.tls_port = wait.free_port() if tls else 1
        self.slow_rate = slow_rate
        self.body_max = body_max
        self.retry_after = retry_after
        self.extra = extra
        self.process = None
        self.stamp = itertools.count(1600000000, 7)
        for name in ("www", "tmp", "status"):
            os.makedirs(os.path.join(directory, name), exist_ok=True)

    # Life.

    def start(self):
        with open(os.path.join(self.directory, "nginx.conf"), "w") as f:
            f.write(self._config())
        self.process = subprocess.Popen(
            [program(), "-p", self.directory, "-c", os.path.join(self.directory, "nginx.conf"),
             "-e", os.path.join(self.directory, "error.log")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        wait.until(self._answers, 10, "nginx answers")
        return self

    def kill(self):
        """As a power cut would; start() brings it back on the same ports."""
        kill_and_reap(self.process)

    def stop(self):
        if self.process is not None:
            kill_and_reap(self.process)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def _answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.directory, "error.log")) as f:
                raise AssertionError(f"nginx ended: {f.read()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def _config(self):
        listen = [f"listen 127.0.0.1:{self.port};"]
        if self.tls:
            listen += [f"listen 127.0.0.1:{self.tls_port} ssl;",
                       f"ssl_certificate {self.tls['cert']};",
                       f"ssl_certificate_key {self.tls['key']};", "ssl_protocols TLSv1.2 TLSv1.3;"]
            if self.client_ca:
                listen += [f"ssl_client_certificate {self.client_ca};", "ssl_verify_client on;"]
        after = "" if self.retry_after is None else f'add_header Retry-After "{self.retry_after}" always; '
        switches = " ".join(f"if (-f {self.directory}/status/{s}) {{ {after}return {s}; }}" for s in STATUSES)
        hops = [f"location /hop{n}/ {{ rewrite ^/hop{n}/(.*)$ {f'/hop{n - 1}' if n > 1 else ''}/$1 redirect; }}"
                for n in range(1, 13)]
        return _CONFIG.format(dir=self.directory, listen="\n".join(listen), hops="\n".join(hops),
                              switches=switches, slow_rate=self.slow_rate, tls_port=self.tls_port,
                              port=self.port, body_max=self.body_max, extra=self.extra)

    # What it serves.

    def url(self, name="", tls=False):
        return f"{'https' if tls else 'http'}://127.0.0.1:{self.tls_port if tls else self.port}/{name}"

    def put(self, name, data):
        """A file, in one step, with an entity tag that no earlier one of this name has had."""
        path = os.path.join(self.www, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            f.write(data)
        at = next(self.stamp)
        os.utime(path + ".new", (at, at))
        os.rename(path + ".new", path)

    def put_sparse(self, name, size):
        path = os.path.join(self.www, name)
        with open(path, "wb") as f:
            f.truncate(size)
        return path

    def remove(self, name):
        os.unlink(os.path.join(self.www, name))

    def fail(self, status):
        """Everything that may be switched is answered with this; None: as it should be."""
        for s in STATUSES:
            path = os.path.join(self.directory, "status", str(s))
            if s == status:
                open(path, "w").close()
            elif os.path.exists(path):
                os.unlink(path)

    # What it was asked.

    def requests(self, name=None):
        """What has ended so far, in that order; of one path when it is given."""
        if not os.path.exists(self.log):
            return []
        with open(self.log) as f:
            lines = f.read().split("\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [r for r in found if name is None or r["uri"].split("?")[0] == "/" + name]

    def wait_requests(self, count, name=None, timeout_s=10.0):
        wait.until(lambda: len(self.requests(name)) >= count, timeout_s,
                   f"{count} requests for {name or 'anything'}")
        return self.requests(name)

    def sent(self, name):
        """Bytes of the bodies of all answers for a file."""
        return sum(r["sent"] for r in self.requests(name))

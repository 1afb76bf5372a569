# SPDX-License-Identifier: Apache-2.0
"""
Real etcd servers on 127.0.0.1: one member or a cluster, plaintext or TLS, with flags of the test's
choice; killed, stopped, restarted on the same ports, restored from a snapshot.
"""

import os
import shutil
import signal
import subprocess
import tempfile

from . import wait
from .etcd_client import EtcdClient, GrpcError
from .pki import client_context
from .process import die_with_parent, kill_and_reap

VERSIONS = ("3.4", "3.5", "3.5-latest")

# Bytes that a heap of 4 MiB could not hold, many operations a transaction; elections in a moment.
ROOMY = {"max-request-bytes": 12 << 20, "max-txn-ops": 20000}
QUICK = {"heartbeat-interval": 20, "election-timeout": 200}


def tools(version, name):
    directory = os.environ.get("ETCD_DIR")
    if not directory:
        raise RuntimeError("ETCD_DIR is not set: it holds 3.4/, 3.5/ and 3.5-latest/ of etcd")
    path = os.path.join(directory, version, "usr/bin", name)
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"{path} is missing")
    return path


class Etcd:
    """One member. Started by start(); stop() must be called, which the fixtures do."""

    def __init__(self, version="3.5", host="127.0.0.1", tls=None, name="m1", flags=None,
                 initial_cluster=None, peer_port=None, token="etchlet-test"):
        self.version = version
        self.host = host
        # {"cert", "key", "ca"}, with client certificates wanted also "client_ca", and in "client"
        # the {"cert", "key"} that the tests' own client shows.
        self.tls = tls
        self.name = name
        self.flags = {**QUICK, **(flags or {})}
        self.token = token
        self.port = wait.free_port(host)
        self.peer_port = peer_port or wait.free_port()
        self.initial_cluster = initial_cluster or f"{name}=http://127.0.0.1:{self.peer_port}"
        # run makes it in memory, for etcd syncs a lot, and removes it whatever happens.
        self.directory = tempfile.mkdtemp(prefix="etcd-", dir=os.environ.get("ETCHLET_SCRATCH"))
        self.data = os.path.join(self.directory, "data")
        self.process = None
        self.clients = []
        self.root = None  # (user, password) once authentication is on
        self.ssl_context = None
        if tls:
            own = tls.get("client", {})
            self.ssl_context = client_context(tls["ca"], own.get("cert"), own.get("key"))

    # Life.

    def start(self, wait_ready=True):
        arguments = {
            "name": self.name,
            "data-dir": self.data,
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": f"http://127.0.0.1:{self.peer_port}",
            "initial-advertise-peer-urls": f"http://127.0.0.1:{self.peer_port}",
            "initial-cluster": self.initial_cluster,
            "initial-cluster-token": self.token,
            "log-level": "error",
            **self.flags,
        }
        if self.version == "3.4":
            arguments["logger"] = "zap"
        if self.tls:
            arguments["cert-file"] = self.tls["cert"]
            arguments["key-file"] = self.tls["key"]
            if self.tls.get("client_ca"):
                arguments["trusted-ca-file"] = self.tls["client_ca"]
                arguments["client-cert-auth"] = "true"
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [tools(self.version, "etcd")] + [f"--{k}={v}" for k, v in arguments.items()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                env={"PATH": os.environ["PATH"], "HOME": self.directory},
                preexec_fn=die_with_parent)
        if wait_ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s=20):
        def is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"etcd ended: {self.tail()}")
            try:
                client = self.new_client()
                try:
                    client.range(b"\0")
                finally:
                    client.close()
                return True
            except GrpcError as error:
                return "user name is empty" in error.message or "invalid auth" in error.message
            except OSError:
                return False
        wait.until(is_ready, timeout_s, f"etcd {self.version} answers")

    def tail(self):
        with open(self.log, "rb") as log:
            return log.read()[-2000:].decode(errors="replace")

    def kill(self):
        """As a power cut would."""
        self._forget_clients()
        kill_and_reap(self.process)

    def terminate(self):
        self._forget_clients()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            kill_and_reap(self.process)

    def freeze(self):
        """The process stops, its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

        def is_stopped():
            with open(f"/proc/{self.process.pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "T"
        wait.until(is_stopped, 5, "the process is stopped")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self._forget_clients()
        if self.process is not None:
            kill_and_reap(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _forget_clients(self):
        for client in self.clients:
            client.close()
        self.clients = []

    # Talking to it.

    @property
    def url(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def new_client(self, user=None):
        return EtcdClient(self.host, self.port, self.ssl_context, "localhost" if self.tls else None,
                          user or self.root)

    @property
    def client(self):
        """The shared client of this server; made anew after a restart."""
        if not self.clients:
            self.clients.append(self.new_client())
        return self.clients[0]

    def ctl(self, *arguments, endpoints=None, check=True, timeout_s=20):
        """Runs etcdctl of the same version."""
        command = [tools(self.version, "etcdctl"), f"--endpoints={endpoints or self.url}"]
        if self.tls:
            command.append(f"--cacert={self.tls['ca']}")
            if "client" in self.tls:
                command += [f"--{n}={self.tls['client'][n]}" for n in ("cert", "key")]
        return subprocess.run(command + list(arguments), check=check, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.ctl_env())

    def ctl_env(self):
        return {"PATH": os.environ["PATH"], "HOME": self.directory, "ETCDCTL_API": "3"}

    def enable_auth(self, password="root"):
        self.client.user_add("root", password)
        self.client.role_add("root")
        self.client.user_grant_role("root", "root")
        self.client.auth_enable()
        self._forget_clients()
        self.root = ("root", password)

    # Backup and restore.

    def snapshot(self):
        path = os.path.join(self.directory, "snapshot.db")
        if os.path.exists(path):
            os.unlink(path)
        self.ctl("snapshot", "save", path)
        return path

    def restore(self, snapshot, **changes):
        """
        Replaces the data of a stopped server by a snapshot, under the same name, peer address and
        token, so that the cluster id stays what it was.
        """
        shutil.rmtree(self.data)
        self.ctl("snapshot", "restore", snapshot, f"--data-dir={self.data}", f"--name={self.name}",
                 f"--initial-cluster={self.initial_cluster}",
                 f"--initial-cluster-token={changes.get('token', self.token)}",
                 f"--initial-advertise-peer-urls=http://127.0.0.1:{self.peer_port}")

    def wipe(self, token):
        """Makes a stopped server the first of another cluster."""
        shutil.rmtree(self.data)
        self.token = token


class Cluster:
    """Three members."""

    def __init__(self, version="3.5", flags=None):
        ports = [wait.free_port() for _ in range(3)]
        initial = ",".join(f"m{i}=http://127.0.0.1:{p}" for i, p in enumerate(ports))
        flags = {"heartbeat-interval": 50, "election-timeout": 500, **(flags or {})}
        self.members = [Etcd(version, name=f"m{i}", peer_port=p, initial_cluster=initial, flags=flags)
                        for i, p in enumerate(ports)]

    def start(self):
        for member in self.members:
            member.start(wait_ready=False)
        for member in self.members:
            member.wait_ready(30)
        return self

    @property
    def urls(self):
        return ",".join(m.url for m in self.members)

    def leader(self):
        for member in self.members:
            status = member.client.status()
            if member.client.last_header.member_id == status["leader"]:
                return member
        return None

    def wait_leader_without(self, gone, timeout_s=20):
        """Those that are left have a leader among them; a write before that would only time out."""
        alive = [m for m in self.members if m is not gone]

        def is_elected():
            try:
                leaders = {m.client.status()["leader"] for m in alive}
                return leaders <= {m.client.last_header.member_id for m in alive}
            except (GrpcError, OSError):
                return False
        wait.until(is_elected, timeout_s, "a leader")

    def stop(self):
        for member in self.members:
            member.stop()

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests. Whatever a test starts is ended with it."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import agent as agent_module
from harness import etcd as etcd_module
from harness import fake_etcd, hostile_http, nginx as nginx_module
from harness import pki as pki_module, proxies, proxy as proxy_module, receiver, run_agent, wait
from harness.process import die_with_parent, kill_and_reap

TEST_TIMEOUT_S = 90


def pytest_addoption(parser):
    parser.addoption("--shard", default="1/1", help="I/N: only every N-th test, from the I-th on")
    parser.addoption("--result-file", default=None, help="where the counts are written, as JSON")


def pytest_collection_modifyitems(config, items):
    index, count = map(int, config.getoption("--shard").split("/"))
    kept = [item for i, item in enumerate(items) if i % count == index - 1]
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs is a failed test, not a hung run."""
    def expired(*_):
        raise TimeoutError(f"the test took more than {TEST_TIMEOUT_S} s")
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_TIMEOUT_S)
    yield
    signal.alarm(0)


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--result-file")
    if path:
        stats = terminalreporter.stats
        counts = {name: len(stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
        with open(path, "w") as f:
            json.dump(counts, f)


@pytest.fixture
def etchlet(tmp_path, servers):
    """
    The program under test. At the end every agent must stop cleanly, with no sanitizer's word; that
    comes before the servers end.
    """
    binary = os.environ.get("ETCHLET")
    assert binary and os.access(binary, os.X_OK), "ETCHLET must name the binary"
    program = agent_module.Etchlet(os.path.abspath(binary), str(tmp_path))
    yield program
    program.end_all()


@pytest.fixture
def full(tmp_path, servers):
    """
    The program with every option: ETCHLET_FULL, which may be the one under test. It is ended as that one is.
    """
    binary = os.environ.get("ETCHLET_FULL") or os.environ.get("ETCHLET")
    assert binary and os.access(binary, os.X_OK), "ETCHLET_FULL must name a binary with every option"
    program = agent_module.Etchlet(os.path.abspath(binary), str(tmp_path))
    said = program.run("version").stdout
    assert b"libcurl" in said, f"ETCHLET_FULL must name a binary with every option, not {said!r}"
    yield program
    program.end_all()


@pytest.fixture
def full_runner(full, tmp_path):
    """`etchlet run` of the program with every option."""
    made = run_agent.Runner(full, str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def runner(etchlet, tmp_path):
    """`etchlet run` with a configuration file; its agents are ended as those of etchlet are."""
    made = run_agent.Runner(etchlet, str(tmp_path))
    yield made
    made.close()


class Servers:
    """Makes servers and proxies, and ends them."""

    def __init__(self):
        self.running = []
        self.fakes = []

    def _keep(self, thing):
        self.running.append(thing)
        return thing

    def etcd(self, version="3.5", **options):
        return self._keep(etcd_module.Etcd(version, **options)).start()

    def cluster(self, version="3.5", **options):
        return self._keep(etcd_module.Cluster(version, **options)).start()

    def fake(self, **options):
        fake = self._keep(fake_etcd.FakeEtcd(**options))
        self.fakes.append(fake)
        return fake

    def raw(self, serve, **options):
        return self._keep(fake_etcd.RawServer(serve, **options))

    def proxy(self, target):
        return self._keep(proxy_module.Proxy(getattr(target, "port", target)))

    def nginx(self, directory, **options):
        return self._keep(nginx_module.Nginx(str(directory), **options)).start()

    def receiver(self, **options):
        return self._keep(receiver.Receiver(**options)).start()

    def http(self, default=None, **options):
        """One that does what nginx does not."""
        return self._keep(hostile_http.HostileHttp(default, **options))

    def tinyproxy(self, **options):
        return self._keep(proxies.Tinyproxy(**options)).start()

    def microsocks(self, **options):
        return self._keep(proxies.Microsocks(**options)).start()

    def naming_proxy(self, *words, **options):
        return self._keep(proxies.NamingProxy(*words, **options))

    def end_all(self):
        for thing in reversed(self.running):
            thing.stop()
        faults = [fault for fake in self.fakes for fault in fake.faults]
        assert not faults, "\n".join(faults)


@pytest.fixture
def servers():
    made = Servers()
    yield made
    made.end_all()


@pytest.fixture(params=["3.4", "3.5"])
def version(request):
    return request.param


@pytest.fixture(scope="module")
def shared_servers():
    """One roomy etcd per version for the tests of a module that do not compact."""
    running = {}

    def of(version):
        if version not in running:
            running[version] = etcd_module.Etcd(version, flags=etcd_module.ROOMY).start()
        return running[version]

    yield of
    for server in running.values():
        server.stop()


@pytest.fixture
def etcd(shared_servers, version):
    return shared_servers(version)


@pytest.fixture
def etcd35(shared_servers):
    return shared_servers("3.5")


@pytest.fixture
def prefix(request):
    """A key prefix of this test alone."""
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]
    return f"/{digest}/"


@pytest.fixture
def state(tmp_path):
    """The path of a state file that does not exist yet."""
    return str(tmp_path / "state")


class Nghttpd:
    """The HTTP/2 server of nghttp2: the protocol from another hand, no gRPC."""

    def __init__(self, directory, issued=None):
        self.port = wait.free_port()
        self.url = f"{'https' if issued else 'http'}://127.0.0.1:{self.port}"
        tls = [issued["key"], issued["cert"]] if issued else ["--no-tls"]
        self.process = subprocess.Popen(
            ["nghttpd", "-a", "127.0.0.1", "-d", directory, "-v", str(self.port), *tls],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent)
        wait.until(self._answers, 10, "nghttpd answers")

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False


@pytest.fixture
def nginx(servers, tmp_path):
    """Plain HTTP; servers.nginx() for anything else."""
    return servers.nginx(tmp_path / "nginx")


@pytest.fixture
def nghttpd(tmp_path):
    server = Nghttpd(str(tmp_path))
    yield server
    kill_and_reap(server.process)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """A certificate authority and what it issued for 127.0.0.1 and localhost."""
    return Pki(str(tmp_path_factory.mktemp("pki")))


class Pki:
    def __init__(self, directory):
        self.directory = directory
        self.root = pki_module.Authority(directory, "root")
        self.other = pki_module.Authority(directory, "other")
        self.good = self.root.issue("server", "DNS:localhost,IP:127.0.0.1,IP:::1")
        self.client = self.root.issue("agent", client=True)

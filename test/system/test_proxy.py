# SPDX-License-Identifier: Apache-2.0
"""The way to etcd through a proxy: which one is taken, that TLS is spoken through it, and what is said of its failures."""

import os
import re
import signal
import socket
import time
from urllib.parse import quote

import pytest

from harness import pki as pki_module
from harness import wait
from harness.config import Watch
from test_watch_network import assert_exactly_once

NAME = "etcd.only-the-proxy-knows.invalid"
# Room for a loaded machine.
SLACK_S = 3.0


@pytest.fixture
def proxied(full):
    """The program with proxies; no test here has a use for another one."""
    return full


@pytest.fixture(params=["http", "socks5h"])
def real_proxy(request, servers):
    return servers.tinyproxy() if request.param == "http" else servers.microsocks()


def get(program, etcd, *words, env=None, key="k"):
    return program.run("get", "--endpoints", getattr(etcd, "url", etcd), *words, key, env=env)


def assert_value(done, value=b"v"):
    assert (done.returncode, done.stdout, done.stderr) == (0, b"k\n" + value + b"\n", b"")


def assert_failed(done, *words):
    """Exit 1 and one line, which says all of the words."""
    assert (done.returncode, done.stdout) == (1, b"")
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


@pytest.fixture
def server(servers):
    fake = servers.fake()
    fake.put(b"k", b"v")
    return fake


# The way through.


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_real_etcd_through_real_proxy(proxied, servers, pki, real_proxy, is_tls):
    etcd = servers.etcd("3.5", tls=pki.good if is_tls else None)
    words = ["--proxy", real_proxy.url] + (["--cacert", pki.root.cert] if is_tls else [])
    agent = proxied.watch(etcd, *words, "--rev=2", "--prefix", "k")
    etcd.client.put(b"k1", b"x" * 1_000_000)
    etcd.client.put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2)] == ["k1", "k2"]
    assert agent.stderr().count(f"{etcd.url}: through proxy {real_proxy.url}\n".encode()) == 1
    real_proxy.kill()
    agent.wait_stderr(f"through proxy {re.escape(real_proxy.url)}: connection (closed|reset)|"
                      f"proxy {re.escape(real_proxy.url)}: connection refused")
    assert agent.is_running


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_login(proxied, servers, server, scheme):
    # tinyproxy's own file takes no others than letters, digits, dots and dashes.
    login = ("dev ice", "p@ss%word") if scheme == "socks5h" else ("device", "pass.word")
    proxy = (servers.tinyproxy if scheme == "http" else servers.microsocks)(login=login)
    good = f"{scheme}://{quote(login[0])}:{quote(login[1])}@{proxy.address}"
    assert_value(get(proxied, server, "--proxy", good))
    for url, what in [(good.replace("word@", "hidden@"), "user or password is wrong"),
                      (proxy.url, "it wants user and password")]:
        assert url != good
        done = get(proxied, server, "--proxy", url)
        assert_failed(done, f"proxy {proxy.url}: ", what)
        assert b"hidden" not in done.stderr and login[1].encode() not in done.stderr
    assert len(server.connections) == 1


def test_login_is_not_shown(proxied, servers, server):
    """In no line, at no level."""
    proxy = servers.tinyproxy(login=("device", "hushhush"))
    agent = proxied.watch(server, "--proxy", proxy.login_url, "--log-level=debug", "--rev=1", "--prefix", "k")
    agent.wait_events(1)
    proxy.kill()
    agent.wait_stderr(f"proxy {re.escape(proxy.url)}: connection refused")
    for secret in (b"hushhush", b"device", b"ZGV2aWNlOmh1c2hodXNo"):
        assert secret not in agent.stderr()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_name_is_resolved_by_the_proxy(proxied, servers, pki, scheme):
    issued = pki.root.issue("server", f"DNS:{NAME}")
    fake = servers.fake(ssl_context=pki_module.server_context(issued))
    fake.put(b"k", b"v")
    proxy = servers.naming_proxy(scheme, names={NAME: "127.0.0.1"})
    url = f"https://{NAME}:{fake.port}"
    assert_value(get(proxied, url, "--cacert", pki.root.cert, "--proxy", proxy.url))
    assert proxy.asked == [(NAME, fake.port)]
    # Directly, nobody knows it.
    assert_failed(get(proxied, url, "--cacert", pki.root.cert, "--dial-timeout=20s"), f"resolve {NAME}: ")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_ipv6(proxied, servers, scheme):
    """A literal address behind the proxy, and the proxy at one."""
    etcd = servers.etcd("3.5", host="::1")
    etcd.client.put(b"k", b"v")
    proxy = (servers.tinyproxy if scheme == "http" else servers.microsocks)(host="::1")
    assert_value(get(proxied, etcd, "--proxy", proxy.url))


def test_request(proxied, servers, server):
    """What the proxy is told, and nothing else."""
    proxy = servers.naming_proxy()
    assert_value(get(proxied, server, "--proxy", proxy.url))
    assert proxy.requests == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                              "Proxy-Connection: Keep-Alive\r\n\r\n".encode()]


def test_early_bytes(proxied, servers, server):
    """A server that speaks first, in the same packet as the proxy's answer."""
    proxy = servers.naming_proxy()
    proxy.answer += b"\0\0\0\4\0\0\0\0\0"  # SETTINGS, which the server then sends again
    assert_value(get(proxied, server, "--proxy", proxy.url))


# TLS is between etchlet and etcd.


def test_proxy_that_ends_tls_is_refused(proxied, servers, pki):
    fake = servers.fake(ssl_context=pki_module.server_context(pki.good))
    fake.put(b"k", b"v")
    context = pki_module.server_context(pki.other.issue("server", "IP:127.0.0.1"))

    def serve(sock):
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(sock, server_side=True) as inside:
            inside.recv(4096)
    proxy = servers.raw(serve)
    done = get(proxied, fake, "--cacert", pki.root.cert, "--proxy", proxy.url)
    assert_failed(done, f"TLS through proxy {proxy.url}: ", "unknown CA")
    assert not fake.connections
    # The same way with an honest one.
    assert_value(get(proxied, fake, "--cacert", pki.root.cert, "--proxy", servers.tinyproxy().url))


def test_certificate_must_be_of_the_endpoint_not_of_the_proxy(proxied, servers, pki):
    """The name that the user gave counts, whatever the proxy makes of it."""
    fake = servers.fake(ssl_context=pki_module.server_context(pki.good))
    proxy = servers.naming_proxy(names={NAME: "127.0.0.1"})
    done = get(proxied, f"https://{NAME}:{fake.port}", "--cacert", pki.root.cert, "--proxy", proxy.url)
    assert_failed(done, "TLS through proxy", f"'{NAME}' is not in the certificate")
    assert not fake.calls


# Proxies that fail.


@pytest.mark.parametrize("answer, what", [
    (b"HTTP/1.1 403 Forbidden\r\n\r\n<html>", "connection to 127.0.0.1:{port} refused by it (403 Forbidden)"),
    (b"HTTP/1.1 502 \x1b[31mBad\r\n\r\n", "it has no connection to 127.0.0.1:{port} (502 \\x1B[31mBad)"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP/1"),
    (b"", "connection closed by the peer"),
], ids=["403", "502", "ssh", "closed"])
def test_refused_by_the_proxy(proxied, servers, server, answer, what):
    def serve(sock):
        sock.recv(4096)
        sock.sendall(answer)
        sock.close()
    proxy = servers.raw(serve)
    assert_failed(get(proxied, server, "--proxy", proxy.url), f"proxy {proxy.url}: {what.format(port=server.port)}")
    assert not server.connections


def test_refused_by_real_proxies(proxied, servers, server):
    proxy = servers.tinyproxy(connect_ports=[1])
    assert_failed(get(proxied, server, "--proxy", proxy.url), "(403 ")
    nowhere = f"http://127.0.0.1:{wait.free_port()}"
    assert_failed(get(proxied, nowhere, "--proxy", servers.tinyproxy().url), "it has no connection to", "(50")
    assert_failed(get(proxied, nowhere, "--proxy", servers.microsocks().url), "(connection refused)")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_silent_proxy(proxied, servers, server, scheme):
    proxy = servers.raw(lambda sock: sock.recv(1) and time.sleep(30))
    begin = time.monotonic()
    done = get(proxied, server, "--proxy", f"{scheme}://127.0.0.1:{proxy.port}", "--dial-timeout=500ms")
    assert 0.4 < time.monotonic() - begin < 0.5 + SLACK_S
    assert_failed(done, f"no connection to 127.0.0.1:{server.port} within 500 ms")


@pytest.mark.parametrize("begin, piece", [
    (b"HTTP/1.1 200 OK\r\n", b"X-Filler: 0123456789012345678901234567890123456789\r\n"),
    (b"HTTP/1.1 200 OK\r\nX: ", b"0123456789"),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99999999999\r\n\r\n", b"<p>page</p>"),
    (b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm=x\r\nTransfer-Encoding: chunked\r\n\r\n",
     b"4\r\npage\r\n"),
], ids=["lines", "line", "page", "login-page"])
def test_endless_answer(proxied, servers, server, begin, piece):
    """Nothing is held up, and no memory taken; the next attempt comes when it is due."""
    flood = piece * 2000

    def serve(sock):
        sock.recv(4096)
        sock.sendall(begin)
        while True:
            sock.sendall(flood)
    proxy = servers.raw(serve)
    agent = proxied.watch(server, "--proxy", proxy.url, "k")
    wait.until(lambda: len(proxy.connections) >= 4, 10, "it is tried again")
    agent.wait_stderr(f"proxy {re.escape(proxy.url)}: (its answer has no end|connection to|407)")
    if not proxied.is_sanitized:
        assert agent.peak_kb() < 4096
    agent.stop()
    assert not server.connections


def test_dribbled_answer(proxied, servers, server):
    """A byte now and then is no reason to wait for longer than --dial-timeout."""
    def serve(sock):
        sock.recv(4096)
        for byte in b"HTTP/1.1 200 " + b"O" * 1000:
            sock.sendall(bytes([byte]))
            time.sleep(0.05)
    proxy = servers.raw(serve)
    begin = time.monotonic()
    done = get(proxied, server, "--proxy", proxy.url, "--dial-timeout=600ms")
    assert time.monotonic() - begin < 0.6 + SLACK_S
    assert_failed(done, "within 600 ms")


def test_stop_while_the_proxy_is_silent(proxied, servers, server):
    proxy = servers.raw(lambda sock: time.sleep(30))
    agent = proxied.watch(server, "--proxy", proxy.url, "k")
    wait.until(lambda: proxy.connections, 10, "a connection")
    agent.stop()


# Proxies that come and go.


def test_proxy_down_at_the_start(proxied, servers, etcd35, prefix):
    proxy = servers.tinyproxy()
    proxy.kill()
    first = etcd35.client.put(prefix.encode(), b"1")
    agent = proxied.watch(etcd35, "--proxy", proxy.url, f"--rev={first}", "--prefix", prefix)
    agent.wait_stderr(f"proxy {re.escape(proxy.url)}: connection refused")
    proxy.start()
    assert_exactly_once(agent, first, first)
    agent.wait_stderr(r"connected \(after [0-9.]+ s, [0-9]+ failures?\)")


def test_proxy_killed_and_back_loses_and_repeats_nothing(proxied, servers, etcd35, prefix, real_proxy):
    first = etcd35.client.revision() + 1
    agent = proxied.watch(etcd35, "--proxy", real_proxy.url, f"--rev={first}", "--prefix", prefix)
    for round_number in range(5):
        last = etcd35.client.put_many((prefix.encode() + b"%d" % i, b"v") for i in range(20))
        if round_number % 2:
            agent.wait_event(lambda e, r=last: e["mod_revision"] == r)
        real_proxy.kill()
        etcd35.client.put(prefix.encode() + b"meanwhile", b"v")
        real_proxy.start()
    last = etcd35.client.put(prefix.encode(), b"end")
    assert_exactly_once(agent, first, last)


def test_hundred_reconnects_leave_nothing_behind(proxied, servers, etcd35, prefix, real_proxy):
    """Neither descriptors nor memory."""
    cuts = servers.proxy(etcd35)
    first = etcd35.client.revision() + 1
    agent = proxied.watch(cuts, "--proxy", real_proxy.url, f"--rev={first}", "--prefix", prefix,
                          "--backoff-min=1ms", "--backoff-max=5ms")

    def round_trip():
        last = etcd35.client.put(prefix.encode(), b"v")
        agent.wait_event(lambda e: e["mod_revision"] == last)
        return last

    def descriptors():
        return len(os.listdir(f"/proc/{agent.process.pid}/fd"))
    round_trip()
    before, peak = descriptors(), None
    for count in range(100):
        cuts.cut(rst=bool(count % 2))
        last = round_trip()
        peak = peak or (agent.peak_kb() if count == 20 else None)
    assert_exactly_once(agent, first, last)
    assert descriptors() == before
    if not proxied.is_sanitized:
        assert agent.peak_kb() <= peak + 64
        assert agent.peak_kb() < 4096


# Which proxy.


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_environment(proxied, servers, server, variable):
    proxy = servers.naming_proxy()
    assert_value(get(proxied, server, env={variable: proxy.url}))
    assert len(proxy.asked) == 1
    # Without a scheme, as in curl.
    assert_value(get(proxied, server, env={variable: f"127.0.0.1:{proxy.port}/"}))
    assert len(proxy.asked) == 2


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ETCDCTL_PROXY", "socks_proxy"])
def test_environment_that_is_not_for_etcd(proxied, servers, server, variable):
    """A connection to etcd is a tunnel whether it is http:// or https://, so http_proxy is not meant."""
    proxy = servers.naming_proxy()
    assert_value(get(proxied, server, env={variable: proxy.url}))
    assert not proxy.asked


@pytest.mark.parametrize("value, what", [
    ("https://127.0.0.1:1", "https_proxy of the environment begins with https://"),
    ("http://u:hidden@127.0.0.1:99999", "https_proxy of the environment has a port that is not 1 to 65535"),
])
def test_wrong_environment(proxied, server, value, what):
    done = get(proxied, server, env={"https_proxy": value})
    assert done.returncode == 2 and what in done.stderr.decode() and b"hidden" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    # Nobody asked for it.
    assert_value(get(proxied, server, "--proxy=none", env={"https_proxy": value}))


def test_option_comes_before_the_environment(proxied, servers, server):
    one, other = servers.naming_proxy(), servers.naming_proxy("socks5h")
    assert_value(get(proxied, server, "--proxy", other.url, env={"https_proxy": one.url}))
    assert not one.asked and len(other.asked) == 1
    for none in ("--proxy=none", "--proxy="):
        assert_value(get(proxied, server, none, env={"https_proxy": one.url}))
    assert not one.asked


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "*", "127.0.0.1:{port}", "x, 127.0.0.1"])
@pytest.mark.parametrize("way", ["option", "no_proxy", "NO_PROXY"])
def test_no_proxy(proxied, servers, server, entry, way):
    proxy = servers.naming_proxy()
    entry = entry.format(port=server.port)
    words = ["--proxy", proxy.url] + (["--no-proxy", entry] if way == "option" else [])
    assert_value(get(proxied, server, *words, env=None if way == "option" else {way: entry}))
    assert not proxy.asked


@pytest.mark.parametrize("entry", ["10.0.0.0/8", "127.0.0.1:1", "localhost", "::1", ""])
def test_no_proxy_for_others(proxied, servers, server, entry):
    """Loopback is no exception of its own."""
    proxy = servers.naming_proxy()
    assert_value(get(proxied, server, "--proxy", proxy.url, "--no-proxy", entry, env={"no_proxy": entry}))
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("entry, is_exempt", [("only-the-proxy-knows.invalid", True), (".invalid", True),
                                              ("*.invalid", True), ("nows.invalid", False)])
def test_no_proxy_by_name(proxied, servers, server, entry, is_exempt):
    proxy = servers.naming_proxy(names={NAME: "127.0.0.1"})
    done = get(proxied, f"http://{NAME}:{server.port}", "--proxy", proxy.url, "--no-proxy", entry,
               "--dial-timeout=20s")
    if is_exempt:
        assert_failed(done, f"resolve {NAME}: ")
    else:
        assert_value(done)
    assert len(proxy.asked) == (not is_exempt)


# run and check.


def run_config(full_runner, etcd, prefix, **options):
    out = full_runner.path("out")
    full_runner.configure(etcd, Watch("w", prefix, print=out), **options)
    return out


def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return f.read().splitlines()


def test_reload_takes_another_proxy(full_runner, servers, etcd35, prefix):
    one, other = servers.naming_proxy(), servers.naming_proxy("socks5h")
    cuts = servers.proxy(etcd35)
    out = run_config(full_runner, cuts, prefix, proxy=one.url)
    agent = full_runner.start()
    agent.wait_synced()
    assert len(one.asked) == 1
    run_config(full_runner, cuts, prefix, proxy=other.url)
    agent.send_signal(signal.SIGHUP)
    agent.wait_stderr("reload: ")
    # The connection that is there stays; the next one goes the new way.
    etcd35.client.put(prefix.encode() + b"a", b"1")
    wait.until(lambda: any(prefix + "a" in line for line in lines_of(out)), 10, "an event")
    assert not other.asked
    cuts.cut()
    etcd35.client.put(prefix.encode() + b"b", b"2")
    wait.until(lambda: any(prefix + "b" in line for line in lines_of(out)), 10, "the next event")
    assert len(other.asked) == 1 and len(one.asked) == 1
    agent.wait_stderr(f"through proxy {re.escape(other.url)}")
    # A wrong one changes nothing.
    run_config(full_runner, cuts, prefix, proxy="https://u:hidden@127.0.0.1:1")
    agent.send_signal(signal.SIGHUP)
    agent.wait_stderr("proxy: begins with https://")
    cuts.cut()
    wait.until(lambda: len(other.asked) == 2, 10, "the way it had")
    assert b"hidden" not in agent.stderr()
    # None is a way too.
    run_config(full_runner, cuts, prefix, proxy="none")
    before = agent.stderr().count(b"reload: ")
    agent.send_signal(signal.SIGHUP)
    wait.until(lambda: agent.stderr().count(b"reload: ") > before, 10, "the reload")
    links = len(cuts.links)
    cuts.cut()
    wait.until(lambda: len(cuts.links) > links, 10, "the direct way")
    agent.wait_synced()
    assert len(other.asked) == 2


@pytest.mark.parametrize("wrong", ["login", "port", "silent"])
def test_reload_mends_a_wrong_proxy(full_runner, servers, etcd35, prefix, wrong):
    """At once, however long the next attempt was to wait."""
    proxy = servers.tinyproxy(login=("device", "right"))
    silent = servers.raw(lambda sock: time.sleep(30))
    url = {"login": proxy.login_url.replace("right", "wrong"), "port": f"http://127.0.0.1:{wait.free_port()}",
           "silent": silent.url}[wrong]
    slow = {"backoff_min": "30s", "backoff_max": "60s", "dial_timeout": "1s"}
    run_config(full_runner, etcd35, prefix, proxy=url, **slow)
    agent = full_runner.start()
    agent.wait_stderr("user or password is wrong|connection refused|no connection to")
    run_config(full_runner, etcd35, prefix, proxy=proxy.login_url, **slow)
    agent.send_signal(signal.SIGHUP)
    agent.wait_synced(timeout_s=5)
    assert f"through proxy {proxy.url}\n" in agent.stderr().decode()


def test_etcd_login_through_a_proxy(proxied, servers, pki):
    """Both logins, each to its own."""
    etcd = servers.etcd("3.5", tls=pki.good)
    etcd.client.put(b"k", b"v")
    etcd.enable_auth()
    proxy = servers.tinyproxy(login=("device", "right"))
    words = ["--cacert", pki.root.cert, "--proxy", proxy.login_url]
    assert_value(get(proxied, etcd, *words, "--user", ":".join(etcd.root)))
    assert_failed(get(proxied, etcd, *words, "--user", f"{etcd.root[0]}:wrong"), "login as")


def check(program, etcd, *words, **options):
    done = program.run("check", "-c", "/dev/null", "--endpoints", getattr(etcd, "url", etcd), *words, **options)
    return done.stdout.decode()


def test_check_tells_of_the_proxy(proxied, servers, etcd35):
    proxy = servers.tinyproxy(login=("u", "hidden"))
    said = check(proxied, etcd35, "--proxy", proxy.login_url)
    assert f"ok       {etcd35.url}: through proxy {proxy.url}\n" in said and "revision" in said
    assert "through proxy" not in check(proxied, etcd35, "--proxy", proxy.login_url, "--no-proxy=127.0.0.1")
    said = check(proxied, etcd35, "--proxy", proxy.url)
    assert f"WRONG    {etcd35.url}: proxy {proxy.url}: 407 " in said
    assert "-> check user and password of the proxy" in said
    proxy.kill()
    said = check(proxied, etcd35, env={"ALL_PROXY": proxy.login_url})
    assert f"proxy {proxy.url}: connection refused" in said and "no-proxy leads past it" in said
    said = check(proxied, etcd35, "--proxy=http://no-such-host.invalid:1", "--dial-timeout=20s")
    assert "proxy http://no-such-host.invalid:1: resolve no-such-host.invalid: " in said
    assert "hidden" not in said


def test_build_without_proxies(etchlet, server):
    """It refuses the option, and the environment is no matter of its."""
    if b"+proxy" in etchlet.run("version").stdout:
        pytest.skip("this build has proxies")
    for words in (["--proxy=none"], ["--no-proxy=x"]):
        done = get(etchlet, server, *words)
        assert done.returncode == 2 and b"is not part of this build (NET_PROXY)" in done.stderr
    assert_value(get(etchlet, server, env={"https_proxy": "nonsense://", "no_proxy": "x"}))


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_descriptors_stay_ours(proxied, servers, server, scheme):
    """What a command of --each gets from us are its three standard ones, while the tunnel is open."""
    proxy = servers.naming_proxy(scheme)
    agent = proxied.start("watch", "--endpoints", server.url, "--proxy", proxy.url, "--rev=1", "k", "--",
                          "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '")
    # 3 is the folder that ls reads.
    agent.out.wait_for(lambda d: b"0 1 2 3 \n" in d or b"0 1 2 3 " in d, 10, "the list of descriptors")

# SPDX-License-Identifier: Apache-2.0
"""Resident memory stays below 4 MiB (8 MiB with TLS), whatever the server holds and sends."""

import base64
import hashlib
import time

import pytest

from harness import etcd as etcd_module
from harness import pki as pki_module
from harness import wait
from harness.agent import parse, value_of

PLAIN_KB, TLS_KB = 4096, 8192


@pytest.fixture(autouse=True)
def plain_binary(etchlet):
    if etchlet.is_sanitized:
        pytest.skip("a sanitizer's own memory is counted too: run against the plain binary")


def peak_of_get(etchlet, *words):
    """Runs `get` to its end with its peak watched by polling; output and peak in KiB."""
    agent = etchlet.start("get", *words)
    peak = 0
    while agent.is_running:
        try:
            peak = max(peak, agent.peak_kb())
        except (AssertionError, OSError):
            break
        time.sleep(0.002)
    assert agent.wait_exit() == 0, agent.tail()
    assert peak > 0
    return agent.out.bytes(), peak


@pytest.fixture(scope="module")
def large(shared_servers):
    """A roomy server with 20,000 keys below /many/ and values of 8 MiB at /big."""
    etcd = shared_servers("3.5")
    if etcd.client.get(b"/many/00000") is None:
        for at in range(0, 20_000, 5_000):
            etcd.client.txn([("put", b"/many/%05d" % i, b"value-%05d" % i)
                             for i in range(at, at + 5_000)])
    return etcd


def test_value_of_8_mib_passes_through(etchlet, etcd, prefix):
    value = bytes(range(256)) * 32768
    agent = etchlet.watch(etcd, f"--rev={etcd.client.revision() + 1}", prefix)
    etcd.client.put(prefix.encode(), value)
    event = agent.wait_events(1, 30)[0]
    assert hashlib.sha256(value_of(event)).digest() == hashlib.sha256(value).digest()
    assert agent.peak_kb() < PLAIN_KB


def test_value_of_8_mib_with_its_previous_value_passes_through(etchlet, etcd35, prefix):
    first = etcd35.client.put(prefix.encode(), b"\xfe" * (8 << 20))
    agent = etchlet.watch(etcd35, f"--rev={first}", "--prev-kv", prefix)
    etcd35.client.put(prefix.encode(), b"\xfd" * (8 << 20))
    event = agent.wait_events(2, 40)[1]
    assert value_of(event) == b"\xfd" * (8 << 20)
    assert base64.b64decode(event["prev_value_base64"]) == b"\xfe" * (8 << 20)
    assert agent.peak_kb() < PLAIN_KB


def test_value_of_8_mib_passes_through_in_the_simple_format(etchlet, etcd35, prefix):
    agent = etchlet.watch(etcd35, f"--rev={etcd35.client.revision() + 1}", prefix, json_lines=False)
    etcd35.client.put(prefix.encode(), b"x" * (8 << 20))
    agent.out.wait_for(lambda d: len(d) > (8 << 20) and d.endswith(b"x\n"), 30, "the value")
    assert agent.peak_kb() < PLAIN_KB


def test_value_of_8_mib_is_got(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"\xfe" * (8 << 20))
    out, peak = peak_of_get(etchlet, "--endpoints", etcd35.url, "-w", "json", prefix)
    assert value_of(parse(out[:-1])) == b"\xfe" * (8 << 20)
    assert peak < PLAIN_KB


def test_value_of_8_mib_passes_through_tls(etchlet, servers, pki):
    etcd = servers.etcd("3.5", tls=pki.good, flags=etcd_module.ROOMY)
    agent = etchlet.watch(etcd, "--cacert", pki.root.cert, "--rev=2", "k")
    etcd.client.put(b"k", b"\xfe" * (8 << 20))
    assert value_of(agent.wait_events(1, 40)[0]) == b"\xfe" * (8 << 20)
    assert agent.peak_kb() < TLS_KB


def test_listing_of_20000_keys(etchlet, large):
    out, peak = peak_of_get(etchlet, "--endpoints", large.url, "--prefix", "-w", "json", "/many/")
    assert [parse(line)["key"] for line in out.split(b"\n")[:-1]] == [
        "/many/%05d" % i for i in range(20_000)]
    assert peak < PLAIN_KB


def test_synchronisation_of_20000_keys(etchlet, servers, state):
    etcd = servers.etcd("3.5", flags=etcd_module.ROOMY)
    etcd.client.put(b"k", b"v")
    agent = etchlet.watch(etcd, "--state", state, "--prefix", "k")
    etchlet.wait_position(state, 1)
    agent.stop()
    etcd.client.txn([("put", b"k%05d" % i, b"value-%05d" % i) for i in range(20_000)])
    etcd.client.put(b"other", b"v")
    etcd.client.compact(etcd.client.revision())
    agent = etchlet.watch(etcd, "--state", state, "--prefix", "k")
    agent.wait_event(lambda e: e["type"] == "synced", 30)
    assert len(agent.events()) == 20_003
    assert agent.peak_kb() < PLAIN_KB


def test_transaction_of_20000_events(etchlet, servers):
    etcd = servers.etcd("3.5", flags=etcd_module.ROOMY)
    agent = etchlet.watch(etcd, "--rev=2", "--prefix", "k")
    etcd.client.txn([("put", b"k%05d" % i, b"value-%05d" % i) for i in range(20_000)])
    agent.wait_lines(20_000, 30)
    assert agent.peak_kb() < PLAIN_KB


def test_long_certificate_chain_and_many_authorities(etchlet, servers, pki, tmp_path):
    authority = pki.root
    for depth in range(3):
        authority = pki_module.Authority(str(tmp_path), f"level-{depth}", key_type="rsa",
                                         parent=authority)
    fake = servers.fake(ssl_context=pki_module.server_context(
        authority.issue("x", "IP:127.0.0.1," + ",".join(f"DNS:h{i}.example" for i in range(100)))))
    bundle = tmp_path / "bundle.pem"
    with open(pki.other.cert) as other, open(pki.root.cert) as root:
        bundle.write_text(other.read() * 50 + root.read())
    agent = etchlet.watch(fake, "--cacert", str(bundle), "--rev=2", "k")
    wait.until(lambda: fake.watches and fake.watches[0].is_live, 10)
    fake.put(b"k", b"v")
    agent.wait_events(1)
    assert agent.peak_kb() < TLS_KB


def test_reconnections_do_not_add_up(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--rev=2", "--prefix", "k")
    fake.put(b"k", b"v")
    agent.wait_events(1)
    early = None
    for i in range(100):
        wait.until(lambda: fake.watches and fake.watches[-1].is_live and fake.watches[-1].is_open, 10)
        fake.put(b"k", b"v")
        agent.wait_lines(i + 2)
        fake.cut()
        if i == 10:
            early = agent.peak_kb()
    assert agent.peak_kb() < PLAIN_KB
    assert agent.peak_kb() - early < 128

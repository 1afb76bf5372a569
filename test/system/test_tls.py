# SPDX-License-Identifier: Apache-2.0
"""TLS: which server certificates are accepted, what is said about the others, client certificates."""

import os
import shutil
import signal
import ssl
import time

import pytest

from harness import pki as pki_module
from harness import wait
from harness.proxy import Plan


@pytest.fixture(autouse=True)
def needs_tls(etchlet):
    """A build without TLS has nothing to test here; it must say so when it is asked for an https URL."""
    done = etchlet.run("get", "--endpoints=https://127.0.0.1:1", "a")
    if done.returncode == 2:
        pytest.skip("this build has no TLS: " + done.stderr.decode(errors="replace").strip())


def fake_with(servers, issued, **options):
    fake = servers.fake(ssl_context=pki_module.server_context(issued, **options))
    fake.put(b"k", b"v")
    return fake


def get(etchlet, fake, ca, *words, host="127.0.0.1"):
    return etchlet.run("get", f"--endpoints=https://{host}:{fake.port}", "--cacert", ca, *words, "k")


def assert_accepted(done):
    assert (done.returncode, done.stdout) == (0, b"k\nv\n"), done.stderr


def assert_refused(done, fake, *reasons):
    """Exit 1, nothing was asked, and the reason is said."""
    assert (done.returncode, done.stdout) == (1, b"")
    said = done.stderr.decode(errors="replace").lower()
    assert any(reason in said for reason in reasons), said
    assert not fake.calls


@pytest.mark.parametrize("version", ["3.4", "3.5", "3.5-latest"])
def test_real_server(etchlet, servers, pki, version):
    etcd = servers.etcd(version, tls=pki.good)
    agent = etchlet.watch(etcd, "--cacert", pki.root.cert, "--rev=2", "--prefix", "k")
    etcd.client.put(b"k1", b"x" * 1_000_000)
    etcd.client.put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2)] == ["k1", "k2"]


def test_real_server_with_client_certificates(etchlet, servers, pki):
    etcd = servers.etcd("3.5", tls={**pki.good, "client_ca": pki.root.cert, "client": pki.client})
    etcd.client.put(b"k", b"v")
    words = ["get", "--endpoints", etcd.url, "--cacert", pki.root.cert]
    done = etchlet.run(*words, "--cert", pki.client["cert"], "--key", pki.client["key"], "k")
    assert_accepted(done)
    assert etchlet.run(*words, "k").returncode == 1


def test_missing_client_certificate_does_not_end_a_watch(etchlet, servers, pki):
    etcd = servers.etcd("3.5", tls={**pki.good, "client_ca": pki.root.cert, "client": pki.client})
    agent = etchlet.watch(etcd, "--cacert", pki.root.cert, "k")
    agent.wait_stderr("certificate|tls|handshake")
    assert agent.is_running


def test_ip_address_in_a_san(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "IP:127.0.0.1"))
    assert_accepted(get(etchlet, fake, pki.root.cert))


def test_dns_name_in_a_san(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "DNS:localhost"))
    assert_accepted(get(etchlet, fake, pki.root.cert, host="localhost"))


def test_one_of_many_sans(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue(
        "x", "DNS:a.example,DNS:b.example,IP:10.0.0.1,DNS:localhost,IP:127.0.0.1"))
    assert_accepted(get(etchlet, fake, pki.root.cert))
    assert_accepted(get(etchlet, fake, pki.root.cert, host="localhost"))


def test_rsa_certificate(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "IP:127.0.0.1", key_type="rsa"))
    assert_accepted(get(etchlet, fake, pki.root.cert))


def test_intermediate_authority(etchlet, servers, pki, tmp_path):
    middle = pki_module.Authority(str(tmp_path), "middle", parent=pki.root)
    fake = fake_with(servers, middle.issue("x", "IP:127.0.0.1"))
    assert_accepted(get(etchlet, fake, pki.root.cert))


def test_several_authorities_in_one_file(etchlet, servers, pki, tmp_path):
    bundle = tmp_path / "bundle.pem"
    with open(pki.other.cert) as one, open(pki.root.cert) as two:
        bundle.write_text(one.read() + "\n# a comment\n" + two.read())
    fake = fake_with(servers, pki.root.issue("x", "IP:127.0.0.1"))
    assert_accepted(get(etchlet, fake, str(bundle)))


def test_tls_1_2_only_server(etchlet, servers, pki):
    fake = fake_with(servers, pki.good, max_version=ssl.TLSVersion.TLSv1_2)
    assert_accepted(get(etchlet, fake, pki.root.cert))


def test_other_authority_is_refused(etchlet, servers, pki):
    fake = fake_with(servers, pki.other.issue("x", "IP:127.0.0.1"))
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "trust", "ca", "issuer", "authority")


def test_wrong_name_is_refused(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "DNS:elsewhere.example"))
    assert_refused(get(etchlet, fake, pki.root.cert, host="localhost"), fake, "name", "localhost")


def test_wrong_address_is_refused(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "IP:127.0.0.2,DNS:localhost"))
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "name", "address", "127.0.0.1")


@pytest.mark.parametrize("name, host", [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")])
def test_common_name_does_not_count(etchlet, servers, pki, name, host):
    fake = fake_with(servers, pki.root.issue(name))
    assert_refused(get(etchlet, fake, pki.root.cert, host=host), fake, "name", "san")


def test_address_written_as_a_dns_name_does_not_count(etchlet, servers, pki):
    """As in Go: an address is compared with the addresses of the SAN only."""
    fake = fake_with(servers, pki.root.issue("x", "DNS:127.0.0.1"))
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "name", "address", "san")


def test_expired_certificate_is_refused_and_said_to_be(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("expired-one", "IP:127.0.0.1", days=(-30, -2)))
    done = get(etchlet, fake, pki.root.cert)
    assert_refused(done, fake, "expired")
    # Which one: its subject or the endpoint's name helps to find it.
    assert b"expired-one" in done.stderr or str(fake.port).encode() in done.stderr


def test_certificate_of_the_future_is_refused_and_said_to_be(etchlet, servers, pki):
    fake = fake_with(servers, pki.root.issue("x", "IP:127.0.0.1", days=(5, 30)))
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "not yet", "future", "valid from", "clock")


def test_self_signed_certificate_is_refused(etchlet, servers, pki, tmp_path):
    lonely = {"cert": str(tmp_path / "lonely.pem"), "key": str(tmp_path / "lonely.key")}
    pki_module.make_key(lonely["key"], "ec")
    pki_module.openssl("req", "-x509", "-new", "-key", lonely["key"], "-out", lonely["cert"],
                       "-subj", "/CN=lonely", "-addext", "subjectAltName=IP:127.0.0.1")
    fake = fake_with(servers, lonely)
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "trust", "ca", "issuer", "authority")


def test_verification_can_be_switched_off_with_a_warning(etchlet, servers, pki):
    fake = fake_with(servers, pki.other.issue("x", "DNS:elsewhere.example", days=(-30, -2)))
    done = etchlet.run("get", "--endpoints", fake.url, "--insecure-skip-tls-verify", "k")
    assert_accepted(done)
    assert b"warn" in done.stderr.lower() and b"insecure-skip-tls-verify" in done.stderr


def test_server_without_alpn_is_refused(etchlet, servers, pki):
    fake = fake_with(servers, pki.good, alpn=())
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "alpn", "h2", "http/2")


def test_server_with_another_protocol_only_is_refused(etchlet, servers, pki):
    fake = fake_with(servers, pki.good, alpn=("http/1.1",))
    assert_refused(get(etchlet, fake, pki.root.cert), fake, "alpn", "h2", "http/2")


def test_plain_server_behind_an_https_endpoint_is_refused(etchlet, servers, pki):
    fake = servers.fake()
    done = get(etchlet, fake, pki.root.cert)
    assert (done.returncode, done.stdout) == (1, b"")
    # A ClientHello is no HTTP/2 preface: that is what this test is about.
    wait.until(lambda: fake.faults, 5, "the library refuses it")
    fake.faults.clear()


def test_scheme_follows_the_tls_options(etchlet, servers, pki):
    fake = fake_with(servers, pki.good)
    done = etchlet.run("get", f"--endpoints=127.0.0.1:{fake.port}", "--cacert", pki.root.cert, "k")
    assert_accepted(done)


def test_http_endpoint_stays_plain_in_spite_of_tls_options(etchlet, servers, pki):
    fake = servers.fake()
    fake.put(b"k", b"v")
    done = etchlet.run("get", "--endpoints", fake.url, "--cacert", pki.root.cert, "k")
    assert_accepted(done)


def test_authority_file_that_is_missing_is_named(etchlet, tmp_path):
    path = str(tmp_path / "no-ca.pem")
    done = etchlet.run("get", "--endpoints=https://127.0.0.1:1", "--cacert", path, "k")
    assert done.returncode in (1, 2) and path.encode() in done.stderr


def test_authority_file_that_holds_no_certificate_is_named(etchlet, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("nothing of use\n")
    done = etchlet.run("get", "--endpoints=https://127.0.0.1:1", "--cacert", str(path), "k")
    assert done.returncode in (1, 2) and str(path).encode() in done.stderr


def test_key_that_does_not_fit_its_certificate_is_told(etchlet, pki):
    other = pki.root.issue("other-agent", client=True)
    done = etchlet.run("get", "--endpoints=https://127.0.0.1:1", "--cacert", pki.root.cert,
                       "--cert", pki.client["cert"], "--key", other["key"], "k")
    assert done.returncode in (1, 2) and b"key" in done.stderr


def test_certificate_that_becomes_good_is_accepted_by_a_running_watch(etchlet, servers, pki):
    bad = fake_with(servers, pki.root.issue("x", "IP:127.0.0.1", days=(-30, -2)))
    agent = etchlet.watch(bad, "--cacert", pki.root.cert, "--rev=2", "k")
    agent.wait_stderr("expired")
    bad.ssl_context = pki_module.server_context(pki.good)
    agent.wait_events(1, 15)


def test_hangup_reads_the_certificates_again(etchlet, servers, pki, tmp_path):
    path = str(tmp_path / "ca.pem")
    shutil.copy(pki.other.cert, path)
    fake = fake_with(servers, pki.good)
    agent = etchlet.watch(fake, "--cacert", path, "--rev=2", "k")
    wait.until(lambda: fake.handshake_errors, 10, "a refused handshake")
    shutil.copy(pki.root.cert, path + ".new")
    os.rename(path + ".new", path)
    agent.send_signal(signal.SIGHUP)
    agent.wait_events(1, 15)


def test_hangup_with_a_bad_file_keeps_the_old_one(etchlet, servers, pki, tmp_path):
    path = str(tmp_path / "ca.pem")
    shutil.copy(pki.root.cert, path)
    fake = fake_with(servers, pki.good)
    agent = etchlet.watch(fake, "--cacert", path, "--rev=2", "k")
    agent.wait_events(1)
    with open(path, "w") as f:
        f.write("broken\n")
    agent.send_signal(signal.SIGHUP)
    agent.wait_stderr(path)
    fake.cut()
    fake.put(b"k", b"after")
    agent.wait_events(2, 15)


def test_handshake_that_never_ends_is_given_up_after_the_dial_timeout(etchlet, servers, pki):
    silent = servers.raw(lambda sock: time.sleep(30))
    fake = fake_with(servers, pki.good)
    agent = etchlet.watch(f"https://127.0.0.1:{silent.port},{fake.url}", "--cacert", pki.root.cert,
                          "--dial-timeout=500ms", "--rev=2", "k")
    agent.wait_events(1, 5)


def test_stop_during_a_handshake(etchlet, servers, pki):
    silent = servers.raw(lambda sock: time.sleep(30))
    agent = etchlet.watch(f"https://127.0.0.1:{silent.port}", "--cacert", pki.root.cert,
                          "--dial-timeout=30s", "k")
    wait.until(lambda: silent.connections, 5)
    agent.stop()


@pytest.mark.parametrize("segment", [1, 100])
def test_records_in_small_pieces_change_nothing(etchlet, servers, pki, segment):
    fake = fake_with(servers, pki.good)
    proxy = servers.proxy(fake)
    proxy.default = Plan(segment=segment)
    assert_accepted(etchlet.run("get", f"--endpoints=https://127.0.0.1:{proxy.port}", "--cacert",
                                pki.root.cert, "k", timeout_s=30))


def test_cut_tls_connections_lose_nothing(etchlet, servers, pki):
    etcd = servers.etcd("3.5", tls=pki.good)
    proxy = servers.proxy(etcd)
    for cut in (100, 1000, 3000, 20_000, 40_000, 60_000):
        proxy.plans.append(Plan(cut_down=cut))
    etcd.client.put_many((b"k%d" % i, b"x" * 50) for i in range(1500))
    agent = etchlet.watch(f"https://127.0.0.1:{proxy.port}", "--cacert", pki.root.cert, "--rev=2",
                          "--prefix", "k")
    events = agent.wait_events(1500, 30)
    assert [e["mod_revision"] for e in events] == list(range(2, 1502))

# SPDX-License-Identifier: Apache-2.0
"""Users, passwords, tokens, permissions: an agent never gives up, and says what a person must do."""

import os
import signal
import time

import pytest

from harness import pki as pki_module
from harness import proto, wait
from harness.fake_etcd import PERMISSION_DENIED
from harness.proto import PUT, Event, KeyValue


@pytest.fixture
def guarded(servers, version):
    """A real server with the user device:pw, who may read the prefix k."""
    return guard(servers.etcd(version, flags={"bcrypt-cost": 4}))


def guard(etcd):
    client = etcd.client
    client.user_add("device", "pw")
    client.role_add("reader")
    client.role_grant("reader", b"k", b"l", kind=0)
    client.user_grant_role("device", "reader")
    etcd.enable_auth()
    return etcd


def watch(etchlet, server, *words, **options):
    return etchlet.watch(server, "--rev=2", "--prefix", *words, "k", **options)


def test_user_and_password(etchlet, guarded):
    agent = watch(etchlet, guarded, "--user=device:pw")
    guarded.client.put(b"k1", b"v")
    assert agent.wait_events(1)[0]["key"] == "k1"


def test_password_is_read_from_a_file(etchlet, guarded, tmp_path):
    path = tmp_path / "password"
    path.write_text("pw\n")
    agent = watch(etchlet, guarded, "--user=device", f"--password-file={path}")
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1)


def test_password_file_is_read_again_at_each_login(etchlet, guarded, tmp_path):
    path = tmp_path / "password"
    path.write_text("wrong\n")
    agent = watch(etchlet, guarded, "--user=device", f"--password-file={path}")
    agent.wait_stderr("invalid user ID or password")
    path.write_text("pw")
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1, 15)


def test_password_does_not_show_up_in_the_log(etchlet, guarded):
    agent = watch(etchlet, guarded, "--user=device:s3cr3t-pass", "--log-level=debug")
    agent.wait_stderr("invalid user ID or password")
    agent.stop()
    assert b"s3cr3t" not in agent.stderr()


def test_wrong_password_is_retried_slowly_and_never_ends_the_agent(etchlet, servers):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    agent = etchlet.watch(fake, "--user=device:wrong", "--backoff-min=200ms", "--backoff-max=30s", "k",
                          quick=False)
    agent.wait_stderr("invalid user ID or password")
    began, before = time.monotonic(), len(fake.calls_of("Authenticate"))
    wait.holds_for(lambda: agent.is_running, 3)
    count = len(fake.calls_of("Authenticate")) - before
    assert count <= 10, f"{count} logins in {time.monotonic() - began:.1f} s"
    assert not fake.watches


def test_password_changed_at_the_server_recovers(etchlet, guarded):
    agent = watch(etchlet, guarded, "--user=device:new")
    agent.wait_stderr("invalid user ID or password")
    guarded.client.user_change_password("device", "new")
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1, 15)


def test_expired_token_is_replaced_at_the_next_connection(etchlet, servers, version):
    etcd = guard(servers.etcd(version, flags={"bcrypt-cost": 4, "auth-token-ttl": 1}))
    proxy = servers.proxy(etcd)
    agent = watch(etchlet, proxy, "--user=device:pw")
    last = etcd.client.put(b"k1", b"v")
    agent.wait_events(1)
    token = proxy.links[0].up
    assert token
    time.sleep(2.5)  # The lifetime of the token and the server's sweep: nothing can be observed.
    proxy.cut()
    last = etcd.new_client().put(b"k2", b"v")
    assert agent.wait_events(2, 15)[1]["mod_revision"] == last


def test_expired_token_does_not_stop_the_probes(etchlet, servers, version, state):
    etcd = guard(servers.etcd(version, flags={"bcrypt-cost": 4, "auth-token-ttl": 1}))
    agent = watch(etchlet, etcd, "--user=device:pw", "--state", state, "--state-interval=300ms",
                  "--probe-interval=2500ms", "--idle-after=3s")
    etcd.client.put(b"k1", b"v")
    agent.wait_events(1)
    revision = etcd.new_client().put(b"other", b"v")
    etchlet.wait_position(state, revision, 20)
    last = etcd.new_client().put(b"k2", b"v")
    agent.wait_event(lambda e: e["mod_revision"] == last)
    assert [e["key"] for e in agent.events()] == ["k1", "k2"]


def test_server_that_forgot_its_tokens_is_logged_in_again(etchlet, guarded):
    """Simple tokens live in the memory of one member."""
    agent = watch(etchlet, guarded, "--user=device:pw")
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1)
    guarded.kill()
    guarded.start()
    guarded.client.put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2, 15)] == ["k1", "k2"]


def test_signed_tokens(etchlet, servers, tmp_path):
    private, public = str(tmp_path / "jwt.key"), str(tmp_path / "jwt.pub")
    pki_module.make_key(private, "rsa")
    pki_module.openssl("rsa", "-in", private, "-pubout", "-out", public)
    etcd = guard(servers.etcd("3.5", flags={
        "bcrypt-cost": 4,
        "auth-token": f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=2s"}))
    proxy = servers.proxy(etcd)
    agent = watch(etchlet, proxy, "--user=device:pw")
    etcd.client.put(b"k1", b"v")
    agent.wait_events(1)
    # Any change of users makes every signed token stale.
    etcd.new_client().user_add("another", "pw")
    proxy.cut()
    etcd.new_client().put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2, 15)] == ["k1", "k2"]


def test_authentication_that_is_off_is_warned_about_and_done_without(etchlet, servers, version):
    etcd = servers.etcd(version)
    agent = watch(etchlet, etcd, "--user=device:pw")
    etcd.client.put(b"k1", b"v")
    agent.wait_events(1)
    agent.wait_stderr("warn")
    agent.wait_stderr("authentication")


def test_authentication_enabled_later_is_followed(etchlet, servers, version):
    etcd = servers.etcd(version, flags={"bcrypt-cost": 4})
    proxy = servers.proxy(etcd)
    agent = watch(etchlet, proxy, "--user=device:pw")
    etcd.client.put(b"k1", b"v")
    agent.wait_events(1)
    guard(etcd)
    proxy.cut()
    etcd.client.put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2, 15)] == ["k1", "k2"]


def test_authentication_disabled_later_is_followed(etchlet, guarded, servers):
    proxy = servers.proxy(guarded)
    agent = watch(etchlet, proxy, "--user=device:pw")
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1)
    guarded.client.auth_disable()
    guarded.root = None
    proxy.cut()
    guarded.new_client().put(b"k2", b"v")
    assert [e["key"] for e in agent.wait_events(2, 15)] == ["k1", "k2"]


def test_missing_user_is_told_and_retried(etchlet, guarded):
    agent = watch(etchlet, guarded)
    agent.wait_stderr("user name is empty")
    guarded.client.auth_disable()
    guarded.root = None
    guarded.new_client().put(b"k1", b"v")
    agent.wait_events(1, 15)


def test_missing_permission_is_told_and_recovers_when_it_is_granted(etchlet, guarded):
    guarded.client.role_revoke("reader", b"k", b"l")
    agent = watch(etchlet, guarded, "--user=device:pw")
    agent.wait_stderr("permission denied")
    assert agent.is_running
    guarded.client.role_grant("reader", b"k", b"l", kind=0)
    guarded.client.put(b"k1", b"v")
    assert [e["key"] for e in agent.wait_events(1, 15)] == ["k1"]


def test_permission_for_less_than_the_range_is_missing(etchlet, guarded):
    agent = etchlet.watch(guarded, "--user=device:pw", "--rev=2", "--prefix", "")
    agent.wait_stderr("permission denied")
    assert agent.is_running


def test_permission_lost_during_a_synchronisation_lists_nothing_as_gone(etchlet, guarded, servers,
                                                                        state):
    agent = watch(etchlet, guarded, "--user=device:pw", "--state", state)
    guarded.client.put(b"k1", b"v")
    agent.wait_events(1)
    agent.stop()
    guarded.client.put(b"k2", b"v")
    guarded.client.role_revoke("reader", b"k", b"l")
    guarded.client.compact(guarded.client.revision())
    agent = watch(etchlet, guarded, "--user=device:pw", "--state", state)
    agent.wait_stderr("permission denied")
    assert all(e["type"] != "synced" for e in agent.events())
    guarded.client.role_grant("reader", b"k", b"l", kind=0)
    agent.wait_event(lambda e: e["type"] == "synced", 15)
    last_sync = max(i for i, e in enumerate(agent.events()) if e["type"] == "sync")
    assert [e.get("key") for e in agent.events()[last_sync:]][1:3] == ["k1", "k2"]


def test_missing_permission_is_not_asked_for_in_a_tight_loop(etchlet, servers):
    fake = servers.fake()

    def denied(w):
        w.send(created=True, canceled=True, watch_id=-1,
               cancel_reason="rpc error: code = PermissionDenied desc = etcdserver: permission denied")
        return True
    fake.on_watch = denied
    agent = etchlet.watch(fake, "--backoff-min=200ms", "--backoff-max=30s", "k", quick=False)
    agent.wait_stderr("permission denied")
    wait.holds_for(lambda: len(fake.watches) <= 14, 3, "few watches")
    fake.on_watch = None


def test_denied_watch_that_echoes_the_asked_id_is_understood(etchlet, servers):
    """Older servers answer created and canceled with the id that was asked for."""
    fake = servers.fake()
    tries = []

    def denied(w):
        tries.append(w)
        if len(tries) > 2:
            return False
        w.send(created=True, canceled=True, watch_id=w.request.watch_id,
               cancel_reason="rpc error: code = PermissionDenied desc = etcdserver: permission denied")
        return True
    fake.on_watch = denied
    agent = etchlet.watch(fake, "--rev=2", "k")
    wait.until(lambda: len(tries) > 2, 10)
    fake.put(b"k", b"v")
    agent.wait_events(1)


def test_token_is_sent_with_every_call(etchlet, servers):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    agent = etchlet.watch(fake, "--user=device:pw", "--probe-interval=200ms", "--idle-after=60s",
                          "--rev=2", "k")
    wait.until(lambda: len(fake.probes()) >= 2, 10)
    fake.put(b"k", b"v")
    agent.wait_events(1)
    for call in fake.calls:
        if call.method != "Authenticate":
            assert call.headers.get("token") in fake.tokens, call.path
    assert fake.calls_of("Authenticate")[0].request.password == "pw"


def test_new_token_means_a_new_stream(etchlet, servers):
    """The server judges a stream by the metadata it was opened with."""
    fake = servers.fake()
    fake.users = {"device": "pw"}
    agent = etchlet.watch(fake, "--user=device:pw", "--rev=2", "k")
    first = fake.wait_watches()
    wait.until(lambda: first.is_live, 5)
    fake.tokens.clear()
    first.cancel("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token")
    wait.until(lambda: len(fake.watches) > 1 and fake.watches[-1].is_live, 10)
    assert fake.watches[-1].call is not first.call
    assert fake.watches[-1].call.headers["token"] in fake.tokens
    fake.put(b"k", b"v")
    agent.wait_events(1)


@pytest.mark.parametrize("token", ["", "x" * 8193, "to\nken", "tok\x7fen", "tök", " "])
def test_impossible_token_is_a_failed_login(etchlet, servers, token):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    fake.on["Authenticate"] = lambda call: call.message() and call.answer(
        proto.encode((1, fake.header()), (2, token))) or True
    agent = etchlet.watch(fake, "--user=device:pw", "k")
    agent.wait_stderr("token|login|authent")
    wait.holds_for(lambda: agent.is_running, 0.5)
    if token.strip():
        assert all("token" not in c.headers for c in fake.calls), "it was sent all the same"
    assert not fake.watches


def test_token_of_8_kib_is_accepted(etchlet, servers):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    token = "x" * 8192
    fake.tokens.add(token)
    fake.on["Authenticate"] = lambda call: call.message() and call.answer(
        proto.encode((1, fake.header()), (2, token))) or True
    agent = etchlet.watch(fake, "--user=device:pw", "--rev=2", "k")
    fake.wait_watches()
    fake.put(b"k", b"v")
    agent.wait_events(1)


def test_hangup_reads_the_password_again(etchlet, servers, tmp_path):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    path = tmp_path / "password"
    path.write_text("wrong")
    agent = etchlet.watch(fake, "--user=device", f"--password-file={path}", "--backoff-min=30s",
                          "--backoff-max=60s", "--rev=2", "k", quick=False)
    agent.wait_stderr("invalid user ID or password")
    path.write_text("pw")
    agent.send_signal(signal.SIGHUP)
    agent.send_signal(signal.SIGUSR1)
    fake.wait_watches(1, 5)


def test_missing_password_file_does_not_end_a_running_watch(etchlet, servers, tmp_path):
    fake = servers.fake()
    fake.users = {"device": "pw"}
    path = tmp_path / "password"
    path.write_text("pw")
    agent = etchlet.watch(fake, "--user=device", f"--password-file={path}", "--rev=2", "k")
    fake.wait_watches()
    os.unlink(path)
    fake.tokens.clear()
    fake.cut()
    agent.wait_stderr(str(path))
    path.write_text("pw")
    wait.until(lambda: len(fake.watches) > 1 and fake.watches[-1].is_live, 15)


@pytest.mark.parametrize("reason, shown", [
    ("a%20b", rb"a b"), ("%1b[31mred", rb"\\x1b\[31mred"), ("%C3%BC", "ü".encode()),
    ("%ff%fe", rb"\\xff\\xfe"), ("line%0Abreak", rb"line\\x0abreak"), ("bad%zz%4", rb"bad%zz%4")])
def test_error_text_of_the_network_is_decoded_and_shown_safely(etchlet, servers, reason, shown):
    fake = servers.fake()
    fake.on["Watch"] = lambda call: call.trailers_only(PERMISSION_DENIED, reason) or True
    agent = etchlet.watch(fake, "k")
    agent.wait_stderr(shown)
    assert_clean(agent.stderr())


def assert_clean(text):
    """Nothing but printable UTF-8 and line ends."""
    text.decode("utf-8")
    assert not any(b < 0x20 and b != 0x0A or b == 0x7F for b in text), text


def test_cancel_reason_is_shown_safely_and_cut(etchlet, servers):
    fake = servers.fake()

    def cancel(w):
        w.created()
        w.cancel("\x1b]0;title\x07 " + "long " * 1000)
        return True
    fake.on_watch = cancel
    agent = etchlet.watch(fake, "k")
    agent.wait_stderr(rb"\\x1b\]0;title\\x07")
    assert_clean(agent.stderr())
    assert max(len(line) for line in agent.stderr().split(b"\n")) < 1100
    assert agent.stderr().split(b"\n")[0].count(b"long ") <= 52
    fake.on_watch = None


def test_key_in_the_log_is_shown_safely(etchlet, servers):
    fake = servers.fake()
    agent = etchlet.watch(fake, "--max-value=1K", "--rev=2", "--prefix", "")
    watch = fake.wait_watches()
    wait.until(lambda: watch.is_live, 5)
    watch.events([Event(PUT, KeyValue(b"\x1b[2Jkey\xff\n", b"x" * 5000, 2, 2, 1))])
    agent.wait_stderr(rb"\\x1b\[2Jkey\\xff\\x0a")
    assert_clean(agent.stderr())

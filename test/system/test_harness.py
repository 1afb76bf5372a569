# SPDX-License-Identifier: Apache-2.0
"""The tests' own tools, checked against etcdctl: a fault in them must not pass for one of etchlet."""

import http.client
import signal
import subprocess

import pytest

from harness import hostile_http
from harness import pki as pki_module
from harness import proto
from harness.agent import delete_line, parse, put_line
from harness.etcd import tools
from harness.etcd_client import EtcdClient, GrpcError
from harness.proto import KeyValue
from harness.proxy import Plan


def test_client_agrees_with_etcdctl(etcd, prefix):
    key = prefix.encode() + b"a"
    revision = etcd.client.put(key, b"one")
    assert etcd.client.txn([("put", key, b"two"), ("put", key + b"2", b"")]) == revision + 1
    assert etcd.ctl("get", "--prefix", prefix).stdout == key + b"\ntwo\n" + key + b"2\n\n"
    assert etcd.client.get(key) == KeyValue(key, b"two", revision, revision + 1, 2)
    etcd.client.delete(key)
    assert etcd.client.get(key) is None
    with pytest.raises(GrpcError) as caught:
        etcd.client.range(b"")
    assert caught.value.code == 3


def test_client_watches_a_backlog(etcd, prefix):
    start = etcd.client.put_many((prefix.encode() + b"%d" % i, b"v") for i in range(1500)) - 1499
    client = etcd.new_client()
    stream = client.watch(prefix.encode(), proto.prefix_end(prefix.encode()), start)
    assert client.next_response(stream).created
    revisions = []
    while len(revisions) < 1500:
        revisions += [e.kv.mod_revision for e in client.next_response(stream).events]
    assert revisions == list(range(start, start + 1500))
    client.close()


def test_server_restores_under_the_same_cluster_id_with_a_lower_revision(servers, version):
    etcd = servers.etcd(version)
    etcd.client.put(b"a")
    before = etcd.client.range(b"a").header
    snapshot = etcd.snapshot()
    etcd.client.put(b"b")
    etcd.terminate()
    etcd.restore(snapshot)
    etcd.start()
    after = etcd.client.range(b"a").header
    assert (after.cluster_id, after.revision) == (before.cluster_id, before.revision)


def test_cluster_goes_on_without_one_member(servers):
    cluster = servers.cluster()
    gone = cluster.leader()
    gone.kill()
    cluster.wait_leader_without(gone)
    alive = [m for m in cluster.members if m.process.poll() is None]
    assert len(alive) == 2 and alive[0].client.put(b"a")


def test_authentication_is_enforced(servers, version):
    etcd = servers.etcd(version, flags={"bcrypt-cost": 4})
    etcd.enable_auth()
    stranger = EtcdClient("127.0.0.1", etcd.port)
    with pytest.raises(GrpcError) as caught:
        stranger.put(b"a")
    assert "user name is empty" in caught.value.message
    stranger.close()
    assert etcd.client.put(b"a")


def test_tls_server_wants_a_client_certificate(servers, pki):
    etcd = servers.etcd("3.5", tls={**pki.good, "client_ca": pki.root.cert, "client": pki.client})
    etcd.client.put(b"a", b"1")
    assert etcd.ctl("get", "a").stdout == b"a\n1\n"
    with pytest.raises(OSError):
        bare = EtcdClient("127.0.0.1", etcd.port, pki_module.client_context(pki.root.cert),
                          "localhost")
        bare.get(b"a")


def test_fake_serves_etcdctl(servers):
    fake = servers.fake()
    fake.put(b"a", b"1")
    fake.txn([("put", b"b", b"2"), ("put", b"c", b"3")])
    fake.delete(b"a")
    fake.put(b"b", b"4")

    def ctl(*arguments):
        command = [tools("3.5", "etcdctl"), f"--endpoints={fake.url}", *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=True).stdout
    assert ctl("get", "--prefix", "") == b"b\n4\nc\n3\n"
    assert ctl("get", "b", "--rev=3") == b"b\n2\n"
    process = subprocess.Popen(
        [tools("3.5", "etcdctl"), f"--endpoints={fake.url}", "watch", "--prefix", "", "--rev=2"],
        stdout=subprocess.PIPE)
    try:
        expected = b"PUT\na\n1\nPUT\nb\n2\nPUT\nc\n3\nDELETE\na\n\nPUT\nb\n4\n"
        assert process.stdout.read(len(expected)) == expected
        fake.put(b"d", b"live")
        assert process.stdout.read(11) == b"PUT\nd\nlive\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_fake_compacts_and_authenticates(servers):
    fake = servers.fake()
    for i in range(10):
        fake.put(b"a", b"%d" % i)
    fake.compact(5)
    fake.users = {"me": "secret"}
    client = EtcdClient("127.0.0.1", fake.port)
    with pytest.raises(GrpcError):
        client.range(b"a")
    client.login("me", "secret")
    assert client.get(b"a").value == b"9"
    stream = client.watch(b"a", start_revision=3)
    assert client.next_response(stream).created
    canceled = client.next_response(stream)
    assert (canceled.canceled, canceled.compact_revision) == (True, 5)
    client.close()


def test_fake_speaks_tls(servers, pki):
    fake = servers.fake(ssl_context=pki_module.server_context(pki.good))
    fake.put(b"a", b"x" * 1_000_000)
    client = EtcdClient("127.0.0.1", fake.port, pki_module.client_context(pki.root.cert),
                        "localhost")
    assert len(client.get(b"a").value) == 1_000_000
    client.close()


def test_pki_makes_what_it_says(pki, tmp_path):
    middle = pki_module.Authority(str(tmp_path), "middle", parent=pki.root)
    good = middle.issue("x", "DNS:localhost")
    with open(good["cert"]) as f:
        assert f.read().count("BEGIN CERTIFICATE") == 2
    expired = pki.root.issue("old", "IP:127.0.0.1", days=(-10, -1))
    verdict = subprocess.run(["openssl", "verify", "-CAfile", pki.root.cert, expired["cert"]],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert b"has expired" in verdict.stdout
    future = pki.root.issue("new", "IP:127.0.0.1", days=(5, 10))
    verdict = subprocess.run(["openssl", "verify", "-CAfile", pki.root.cert, future["cert"]],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert b"not yet valid" in verdict.stdout


def test_proxy_cuts_where_it_is_told(servers, etcd35):
    proxy = servers.proxy(etcd35)
    proxy.plans.append(Plan(cut_down=1000))
    client = EtcdClient("127.0.0.1", proxy.port)
    with pytest.raises(OSError):
        for _ in range(1000):
            client.revision()
    assert proxy.links[0].down == 1000
    proxy.plans.append(Plan(segment=1))
    client = EtcdClient("127.0.0.1", proxy.port)
    assert client.revision() >= 1
    proxy.cut(rst=True)
    with pytest.raises(OSError):
        client.revision()
    proxy.refuse()
    with pytest.raises(OSError):
        EtcdClient("127.0.0.1", proxy.port)


def test_lines_are_as_the_contract_shows():
    kv = KeyValue(b"/a", b"1", 3, 12, 4)
    assert put_line(kv) == (b'{"type":"put","key":"/a","value":"1","create_revision":3,'
                            b'"mod_revision":12,"version":4,"lease":"0"}')
    assert delete_line(b"/a", 13) == b'{"type":"delete","key":"/a","mod_revision":13}'
    assert b'"value_base64":"/w=="' in put_line(KeyValue(b"a", b"\xff"))
    assert b'"value_base64"' in put_line(KeyValue(b"a", b"x" * 16385))
    assert b'"value_base64"' not in put_line(KeyValue(b"a", b"x" * 16384))
    with pytest.raises(AssertionError):
        parse(b'{"type":"put","type":"put"}')


def test_frozen_server_stays_connected_and_silent(servers):
    etcd = servers.etcd("3.5")
    client = etcd.client
    etcd.freeze()
    client.http.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.revision()
    etcd.thaw()
    etcd.process.send_signal(signal.SIGCONT)


# HTTP servers.


def http_get(port, target, **headers):
    """Status, body and headers in lower case; redirects are not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers={n.replace("_", "-"): v for n, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), {n.lower(): v for n, v in answer.getheaders()}
    finally:
        connection.close()


def test_nginx_does_what_tests_rely_on(nginx):
    nginx.put("a", b"x" * 1000)
    status, body, headers = http_get(nginx.port, "/a")
    first = headers["etag"]
    assert (status, len(body)) == (200, 1000) and first.startswith('"')
    status, body, headers = http_get(nginx.port, "/a", Range="bytes=990-", If_Range=first)
    assert (status, len(body), headers["content-range"]) == (206, 10, "bytes 990-999/1000")
    nginx.put("a", b"y" * 1000)
    status, body, headers = http_get(nginx.port, "/a", Range="bytes=990-", If_Range=first)
    assert (status, len(body)) == (200, 1000) and headers["etag"] != first
    assert http_get(nginx.port, "/plain/a", Range="bytes=990-")[0] == 200
    assert [http_get(nginx.port, f"/{p}/a")[0] for p in ("hop1", "loop", "moved")] == [302, 302, 301]
    nginx.fail(503)
    assert http_get(nginx.port, "/a")[0] == 503
    nginx.fail(None)
    assert http_get(nginx.port, "/none")[0] == 404
    said = nginx.wait_requests(9)
    assert [r["status"] for r in said[:3]] == [200, 206, 200] and said[1]["range"] == "bytes=990-"
    assert said[1]["if_range"] == first


def test_the_hostile_server_lies_as_it_is_told(servers):
    data = bytes(range(256)) * 4
    server = servers.http(hostile_http.Plan(data))
    assert http_get(server.port, "/a", Range="bytes=1000-")[:2] == (206, data[1000:])
    server.plans = [hostile_http.Plan(data, range="wrong"), hostile_http.Plan(data, range="ignore"),
                    hostile_http.Plan(data, length="chunked"), hostile_http.Plan(data, cut_at=100)]
    assert http_get(server.port, "/a", Range="bytes=1000-")[2]["content-range"] == "bytes 1001-1023/1024"
    assert http_get(server.port, "/a", Range="bytes=1000-")[0] == 200
    assert http_get(server.port, "/a")[1] == data
    with pytest.raises(http.client.IncompleteRead) as caught:
        http_get(server.port, "/a")
    assert caught.value.partial == data[:100]
    assert [r.range_first for r in server.requests] == [1000, 1000, 1000, None, None]

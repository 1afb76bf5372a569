# SPDX-License-Identifier: Apache-2.0
"""`etchlet check`: would `run` work, and if not, what is wrong and what to do about it."""

import json
import os
import re
import time

import pytest

from harness import pki as pki_module


class Config:
    """A configuration file with one watch, its state and control below the test's folder."""

    def __init__(self, folder, endpoints, *lines, watch=("key = k", "prefix = yes", "print = -")):
        self.path = str(folder / "etchlet.conf")
        with open(self.path, "w") as f:
            f.write("\n".join([
                f"endpoints = {endpoints}", f"state = {folder}/state", f"control = {folder}/control",
                "device-id = test-device", *lines, "", "[watch test]", *watch, ""]))


def check(etchlet, config, *words):
    done = etchlet.run("check", "-c", config.path, "--json", "--dial-timeout=1s",
                       "--command-timeout=1s", *words)
    report = json.loads(done.stdout) if done.returncode != 2 else None
    if report is not None:
        assert set(report) == {"ok", "findings"}
        for finding in report["findings"]:
            assert set(finding) == {"level", "about", "what", "advice"}
            assert finding["level"] in ("error", "warning", "info")
        assert report["ok"] == (done.returncode == 0)
        assert report["ok"] == all(f["level"] != "error" for f in report["findings"])
    return done, report


def problem(report, level="error"):
    """All text of the findings of a level, in lower case."""
    return " ".join(f"{f['about']} {f['what']} {f['advice']}" for f in report["findings"]
                    if f["level"] == level).lower()


def test_all_is_well(etchlet, etcd, tmp_path):
    done, report = check(etchlet, Config(tmp_path, etcd.url))
    assert done.returncode == 0, report
    assert report["ok"]


def test_words_for_a_person(etchlet, etcd35, tmp_path):
    config = Config(tmp_path, etcd35.url)
    done = etchlet.run("check", "-c", config.path)
    assert done.returncode == 0
    with pytest.raises(ValueError):
        json.loads(done.stdout or b"not json")


def test_endpoints_alone_can_be_checked(etchlet, etcd35):
    done = etchlet.run("check", "--endpoints", etcd35.url, "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["ok"] is True


def test_dead_endpoint_alone_is_an_error(etchlet, servers, tmp_path):
    fake = servers.fake()
    fake.refuse()
    done, report = check(etchlet, Config(tmp_path, fake.url))
    assert done.returncode == 1
    assert str(fake.port) in problem(report) and "refused" in problem(report)


def test_one_dead_endpoint_of_three_is_a_warning(etchlet, servers, etcd35, tmp_path):
    dead = servers.fake()
    dead.refuse()
    done, report = check(etchlet, Config(tmp_path, f"{etcd35.url},{dead.url},{etcd35.url}"))
    assert done.returncode == 0
    assert str(dead.port) in problem(report, "warning")


def test_silent_endpoint_is_told_after_its_timeout(etchlet, servers, etcd35, tmp_path):
    silent = servers.raw(lambda sock: time.sleep(20))
    began = time.monotonic()
    done, report = check(etchlet, Config(tmp_path, f"{silent.url},{etcd35.url}"))
    assert done.returncode == 0 and time.monotonic() - began < 6
    assert str(silent.port) in problem(report, "warning")


def test_every_endpoint_is_asked(etchlet, servers, tmp_path):
    fakes = [servers.fake() for _ in range(3)]
    for fake in fakes:
        fake.cluster_id = fakes[0].cluster_id
    check(etchlet, Config(tmp_path, ",".join(f.url for f in fakes)))
    assert all(f.calls for f in fakes)


def test_wrong_password_is_an_error(etchlet, servers, tmp_path):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.enable_auth()
    done, report = check(etchlet, Config(tmp_path, etcd.url, "user = root:wrong"))
    assert done.returncode == 1
    assert "invalid user id or password" in problem(report)


def test_missing_permission_is_an_error_that_names_the_watch(etchlet, servers, tmp_path):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.client.user_add("device", "pw")
    etcd.enable_auth()
    done, report = check(etchlet, Config(tmp_path, etcd.url, "user = device:pw"))
    assert done.returncode == 1
    assert "permission" in problem(report) and "test" in problem(report)


def test_authentication_that_is_off_is_a_warning(etchlet, etcd35, tmp_path):
    done, report = check(etchlet, Config(tmp_path, etcd35.url, "user = device:pw"))
    assert done.returncode == 0
    assert "authentication" in problem(report, "warning")


def test_wrong_word_is_named_with_file_and_line(etchlet, tmp_path):
    config = Config(tmp_path, "http://127.0.0.1:1", "frobnicate = yes")
    done, _ = check(etchlet, config)
    assert done.returncode == 2
    assert b"frobnicate" in done.stderr
    assert re.search(re.escape(config.path) + r"\D+5\b", done.stderr.decode())


@pytest.mark.parametrize("watch, word", [
    (("key = k", "prefix = yes"), "test"),  # no sink
    (("print = -",), "key"),
    (("key = k", "key = l", "print = -"), "key"),
    (("key = k%q", "print = -"), "%q"),
    (("key = k", "prefix = maybe", "print = -"), "maybe"),
    (("key = k", "print = -", "odd-word = 1"), "odd-word"),
    (("key = k", 'print = "-" more'), "print"),
])
def test_wrong_watch_is_named(etchlet, tmp_path, watch, word):
    done, _ = check(etchlet, Config(tmp_path, "http://127.0.0.1:1", watch=watch))
    assert done.returncode == 2
    assert word.encode() in done.stderr and done.stderr.count(b"\n") == 1


def test_watch_named_twice_is_refused(etchlet, tmp_path):
    config = Config(tmp_path, "http://127.0.0.1:1",
                    watch=("key = k", "print = -", "[watch test]", "key = l", "print = -"))
    done, _ = check(etchlet, config)
    assert done.returncode == 2 and b"test" in done.stderr


def test_bad_certificate_is_an_error_with_its_reason(etchlet, servers, pki, tmp_path):
    if etchlet.run("get", "--endpoints=https://127.0.0.1:1", "a").returncode == 2:
        pytest.skip("this build has no TLS")
    fake = servers.fake(ssl_context=pki_module.server_context(
        pki.root.issue("x", "IP:127.0.0.1", days=(-30, -2))))
    done, report = check(etchlet, Config(tmp_path, fake.url, f"cacert = {pki.root.cert}"))
    assert done.returncode == 1
    assert "expired" in problem(report)


def test_nothing_is_changed(etchlet, etcd35, tmp_path):
    config = Config(tmp_path, etcd35.url)
    before = sorted(os.listdir(tmp_path)), etcd35.client.revision()
    check(etchlet, config)
    assert (sorted(os.listdir(tmp_path)), etcd35.client.revision()) == before


def test_state_folder_that_is_missing_is_told(etchlet, etcd35, tmp_path):
    config = Config(tmp_path, etcd35.url)
    with open(config.path) as f:
        text = f.read().replace(f"state = {tmp_path}/state", f"state = {tmp_path}/no/where/state")
    with open(config.path, "w") as f:
        f.write(text)
    _, report = check(etchlet, config)
    assert "no/where" in problem(report, "error") + problem(report, "warning")

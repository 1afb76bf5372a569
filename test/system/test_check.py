# SPDX-License-Identifier: Apache-2.0
"""`etchlet check`: would `run` work, and if not, what is wrong and what to do about it."""

import json
import os
import re
import time

import pytest

from harness import pki as pki_module
from harness.folders import disks  # noqa: F401 (a fixture)


class Config:
    """A configuration file with one watch, its state and control below the test's folder."""

    def __init__(self, folder, endpoints, *lines, watch=("key = k", "prefix = yes", "print = -")):
        self.path = str(folder / "etchlet.conf")
        # A socket's path may not be longer than 107 bytes, and those of tests are.
        self.control = f"/tmp/ec-check-{os.getpid()}"
        with open(self.path, "w") as f:
            f.write("\n".join([
                f"endpoints = {endpoints}", f"state = {folder}/state", f"control = {self.control}",
                "device-id = test-device", *lines, "", "[watch test]", *watch, ""]))


def check(etchlet, config, *words):
    done = etchlet.run("check", "-c", config.path, "--json", "--dial-timeout=1s",
                       "--command-timeout=1s", *words)
    report = json.loads(done.stdout) if done.stdout else None
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


def test_permission_for_less_than_the_range_is_an_error(etchlet, servers, tmp_path):
    etcd = servers.etcd("3.5", flags={"bcrypt-cost": 4})
    etcd.client.user_add("device", "pw")
    etcd.client.role_add("first")
    etcd.client.role_grant("first", b"k", kind=0)
    etcd.client.user_grant_role("device", "first")
    etcd.enable_auth()
    done, report = check(etchlet, Config(tmp_path, etcd.url, "user = device:pw"))
    assert done.returncode == 1
    assert "permission" in problem(report) and "test" in problem(report)
    etcd.client.role_grant("first", b"k", b"l", kind=0)
    done, report = check(etchlet, Config(tmp_path, etcd.url, "user = device:pw"))
    assert done.returncode == 0, report


@pytest.mark.parametrize("place, why", [("file", "something else than a folder"),
                                        ("link", "something else than a folder"),
                                        ("file/m", "something else than a folder")])
def test_mirror_that_cannot_be_made_is_an_error(etchlet, etcd35, runner, tmp_path, place, why):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    path = str(tmp_path / place)
    done, report = check(etchlet, Config(tmp_path, etcd35.url, watch=("key = k/", "prefix = yes",
                                                                      f"mirror = {path}")))
    assert done.returncode == 1 and why in problem(report)
    agent = runner.mirror(etcd35, "k/", path)
    agent.wait_stderr(why)
    assert agent.is_running and (tmp_path / "file").read_text() == "mine"


def test_file_without_a_watch_is_refused_as_by_run(etchlet, etcd35, tmp_path):
    config = Config(tmp_path, etcd35.url)
    with open(config.path) as f:
        text = f.read()
    with open(config.path, "w") as f:
        f.write(text[:text.index("[watch")])
    done, report = check(etchlet, config)
    assert done.returncode == 2 and not report["ok"]
    assert "no section [watch name]" in problem(report)
    assert etchlet.run("run", "-c", config.path).returncode == 2
    assert etchlet.run("check", "--endpoints", etcd35.url).returncode == 0


def test_what_a_start_refuses_is_told_and_exits_2(etchlet, etcd35, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "mine").write_text("x")
    watch = ("key = k/", "prefix = yes", f"mirror = {folder}")
    done, report = check(etchlet, Config(tmp_path, etcd35.url, watch=watch))
    assert done.returncode == 2 and not report["ok"]
    assert "not a mirror's" in problem(report) and "mirror-adopt" in problem(report)
    done, report = check(etchlet, Config(tmp_path, etcd35.url,
                                         watch=(*watch, "mirror-adopt = yes", "mirror-owner = no-such-user")))
    assert done.returncode == 2 and "no-such-user" in problem(report)


def test_mirror_of_a_running_agent_is_told(etchlet, etcd35, runner, tmp_path):
    path = str(tmp_path / "m")
    agent = runner.mirror(etcd35, "k/", path)
    agent.wait_synced()
    done, report = check(etchlet, Config(tmp_path, etcd35.url, watch=("key = k/", "prefix = yes",
                                                                      f"mirror = {path}")))
    assert done.returncode == 0
    assert f"in use by process {agent.process.pid}" in problem(report, "info")


def test_read_only_file_system_is_told_as_one(etchlet, etcd35, disks, tmp_path):
    disk = disks(str(tmp_path / "disk"))
    os.mkdir(f"{disk.path}/there")
    disk.remount("ro")
    for name in "there", "new":
        for sink in "mirror", "print":
            if (name, sink) == ("there", "print"):
                continue
            done, report = check(etchlet, Config(tmp_path, etcd35.url,
                                                 watch=("key = k/", "prefix = yes", f"{sink} = {disk.path}/{name}")))
            assert done.returncode == 1
            assert "read-only" in problem(report) and "permission" not in problem(report)


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_password_file_without_a_password_is_an_error(etchlet, etcd35, tmp_path, text):
    (tmp_path / "password").write_text(text)
    done, report = check(etchlet, Config(tmp_path, etcd35.url, "user = device",
                                         f"password-file = {tmp_path}/password"))
    assert done.returncode == 1 and "no password in it" in problem(report)


def test_control_that_is_no_socket_is_a_warning(etchlet, etcd35, tmp_path):
    config = Config(tmp_path, etcd35.url)
    with open(config.control, "w"):
        pass
    try:
        done, report = check(etchlet, config)
    finally:
        os.unlink(config.control)
    assert done.returncode == 0 and "something else than a socket" in problem(report, "warning")


def test_control_that_is_too_long_is_refused(etchlet, tmp_path):
    config = Config(tmp_path, "http://127.0.0.1:1")
    for command in "check", "run":
        done = etchlet.run(command, "-c", config.path, "--control=/tmp/" + "x" * 103)
        assert done.returncode == 2 and b"--control" in done.stderr and b"107" in done.stderr
        assert done.stderr.count(b"\n") == 1
    done = etchlet.run("check", "-c", config.path, "--dial-timeout=1s", "--control=/tmp/" + "x" * 102)
    assert done.returncode == 1


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

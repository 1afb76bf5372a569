# SPDX-License-Identifier: Apache-2.0
"""Commands, options, durations and sizes, exit codes: what is said before any server is asked."""

import re

import pytest

COMMANDS = ("watch", "get", "check", "state", "version", "help")
NOWHERE = "http://127.0.0.1:1"


def one_line(text):
    lines = text.decode().splitlines()
    assert len(lines) == 1, f"not one line: {text!r}"
    return lines[0]


def assert_refused(done, word):
    """Exit 2, nothing on standard output, one line on standard error that says which word."""
    assert done.returncode == 2, done
    assert done.stdout == b""
    assert word in one_line(done.stderr)


def test_version_says_version_build_options_and_libraries(etchlet):
    done = etchlet.run("version")
    assert done.returncode == 0 and done.stderr == b""
    assert re.search(rb"^etchlet\b.*\d+\.\d+", done.stdout)
    assert re.search(rb"nanopb\D*0\.4", done.stdout, re.I)


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"]])
def test_help_names_every_command(etchlet, words):
    done = etchlet.run(*words)
    assert done.returncode == 0
    for command in COMMANDS:
        assert command.encode() in done.stdout


@pytest.mark.parametrize("words", [["help", "watch"], ["watch", "--help"], ["watch", "-h"]])
def test_help_of_a_command_names_its_options(etchlet, words):
    done = etchlet.run(*words)
    assert done.returncode == 0
    for option in (b"--prefix", b"--rev", b"--prev-kv", b"--progress-notify", b"--state"):
        assert option in done.stdout


def test_help_of_an_unknown_command_is_refused(etchlet):
    assert_refused(etchlet.run("help", "frobnicate"), "frobnicate")


def test_no_command_is_wrong_usage(etchlet):
    done = etchlet.run()
    assert done.returncode == 2
    assert done.stdout == b"" and done.stderr != b""


def test_unknown_command_is_named(etchlet):
    assert_refused(etchlet.run("frobnicate", "x"), "frobnicate")


@pytest.mark.parametrize("command", ["watch", "get", "check", "state", "version"])
def test_unknown_option_is_named(etchlet, command):
    assert_refused(etchlet.run(command, "--frobnicate"), "--frobnicate")


def test_unknown_short_option_is_named(etchlet):
    assert_refused(etchlet.run("get", "-z", "a"), "-z")


@pytest.mark.parametrize("words", [
    ["watch", "a", "--once"],
    ["watch", "a", "--timeout=1s"],
    ["get", "a", "--prev-kv"],
    ["get", "a", "--progress-notify"],
    ["watch", "a", "--json"],
    ["check", "--prefix"],
])
def test_option_of_another_command_is_refused(etchlet, words):
    option = next(w for w in words if w.startswith("--")).split("=")[0]
    assert_refused(etchlet.run(*words), option)


@pytest.mark.parametrize("option", [
    "--dial-timeout", "--command-timeout", "--keepalive-time", "--keepalive-timeout",
    "--probe-interval", "--idle-after", "--backoff-min", "--backoff-max", "--state-interval"])
def test_duration_without_unit_is_refused(etchlet, option):
    assert_refused(etchlet.run("get", option, "700", "a"), "700")


@pytest.mark.parametrize("value", ["", "s", "5x", "5 s", "-5s", "5s5", "1e3s", "0x5s",
                                   "99999999999999999999s"])
def test_malformed_duration_is_refused(etchlet, value):
    assert_refused(etchlet.run("get", f"--dial-timeout={value}", "a"), "dial-timeout")


@pytest.mark.parametrize("value", ["500ms", "5s", "10m", "2h", "1m30s", "1.5s"])
def test_durations_are_written_as_in_go(etchlet, value):
    done = etchlet.run("get", "--endpoints", NOWHERE, "--probe-interval=1s",
                       f"--dial-timeout={value}", "a")
    assert done.returncode == 1, done.stderr


@pytest.mark.parametrize("value", ["1000", "", "K", "-1K", "64KB", "1.5M", "64X",
                                   "99999999999999999999M"])
def test_malformed_size_is_refused(etchlet, value):
    assert_refused(etchlet.run("get", f"--max-value={value}", "a"), "max-value")


def test_option_at_the_end_wants_its_value(etchlet):
    assert_refused(etchlet.run("get", "a", "--endpoints"), "--endpoints")


@pytest.mark.parametrize("words", [["--prefix=yes"], ["--prefix="], ["--prefix=TRUE1"]])
def test_switch_takes_true_and_false_only(etchlet, words):
    assert_refused(etchlet.run("get", "a", *words), "prefix")


@pytest.mark.parametrize("value", ["-1", "abc", "1s", "99999999999999999999"])
def test_malformed_revision_is_refused(etchlet, value):
    assert_refused(etchlet.run("get", "a", f"--rev={value}"), "rev")


def test_unknown_output_format_is_refused(etchlet):
    assert_refused(etchlet.run("get", "a", "-w", "xml"), "xml")


@pytest.mark.parametrize("command", ["watch", "get"])
def test_key_is_required(etchlet, command):
    done = etchlet.run(command)
    assert done.returncode == 2
    assert "KEY" in one_line(done.stderr)


@pytest.mark.parametrize("command", ["watch", "get"])
def test_word_too_many_is_named(etchlet, command):
    assert_refused(etchlet.run(command, "a", "b", "surplus"), "surplus")


def test_command_of_watch_must_not_be_empty(etchlet):
    assert etchlet.run("watch", "--endpoints", NOWHERE, "a", "--").returncode == 2


@pytest.mark.parametrize("idle, probe", [("60s", "60s"), ("5s", "60s")])
def test_idle_after_must_be_greater_than_probe_interval(etchlet, idle, probe):
    assert_refused(etchlet.run("watch", f"--idle-after={idle}", f"--probe-interval={probe}", "a"),
                   "idle-after")


@pytest.mark.parametrize("endpoints", [
    "", "ftp://a", "http://", "http://a:", "http://a:0", "http://a:65536", "http://a:b", "http://[::1",
    "http://a,,http://b", "a:1:2"])
def test_malformed_endpoint_is_refused(etchlet, endpoints):
    done = etchlet.run("get", f"--endpoints={endpoints}", "a")
    assert done.returncode == 2, done
    one_line(done.stderr)


def test_missing_named_configuration_file_is_refused(etchlet, tmp_path):
    path = str(tmp_path / "nowhere.conf")
    assert_refused(etchlet.run("get", "-c", path, "a"), path)


def test_wrong_word_in_the_configuration_is_named_with_file_and_line(etchlet, tmp_path):
    path = tmp_path / "etchlet.conf"
    path.write_text("# comment\nendpoints = http://127.0.0.1:1\nfrobnicate = 5\n")
    done = etchlet.run("get", "--config", str(path), "a")
    assert_refused(done, "frobnicate")
    assert re.search(re.escape(str(path)) + r"\D+3\b", done.stderr.decode())


def test_options_stand_in_the_configuration_file(etchlet, etcd35, prefix, tmp_path):
    etcd35.client.put(prefix.encode(), b"from a file")
    path = tmp_path / "etchlet.conf"
    path.write_text(f"endpoints = {etcd35.url}   # a comment\n")
    done = etchlet.run("get", "-c", str(path), prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}\nfrom a file\n".encode())


def test_command_line_wins_over_the_configuration_file(etchlet, etcd35, prefix, tmp_path):
    etcd35.client.put(prefix.encode(), b"v")
    path = tmp_path / "etchlet.conf"
    path.write_text(f"endpoints = {NOWHERE}\n")
    done = etchlet.run("get", "-c", str(path), "--endpoints", etcd35.url, prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}\nv\n".encode())


@pytest.mark.parametrize("form", [["--prefix"], ["--prefix=true"]])
def test_switch_stands_alone_or_takes_true(etchlet, etcd35, prefix, form):
    etcd35.client.put(prefix.encode() + b"a", b"v")
    done = etchlet.get(etcd35, *form, prefix)
    assert (done.returncode, done.stdout) == (0, f"{prefix}a\nv\n".encode())


def test_switch_takes_false(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode() + b"a", b"v")
    done = etchlet.get(etcd35, "--prefix=false", prefix)
    assert (done.returncode, done.stdout) == (0, b"")


def test_options_may_follow_the_key(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    done = etchlet.run("get", prefix, "--endpoints", etcd35.url, "--write-out=json")
    assert done.returncode == 0 and done.stdout.startswith(b'{"type":"put"')


def test_environment_variables_of_etcdctl_are_not_read(etchlet, etcd35, prefix):
    etcd35.client.put(prefix.encode(), b"v")
    done = etchlet.get(etcd35, prefix, env={"ETCDCTL_ENDPOINTS": NOWHERE, "ETCDCTL_USER": "a:b"})
    assert (done.returncode, done.stdout) == (0, f"{prefix}\nv\n".encode())

# SPDX-License-Identifier: Apache-2.0
"""`etchlet run`: what a start refuses, what it survives, `--once`, and what `check` says of sinks."""

import json
import os
import pwd
import re
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import pytest

from harness import wait

BOARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "board")
NOWHERE = "http://127.0.0.1:1"
PRINT = ("print = -",)


def text_of_watch(name, key, *lines):
    return "\n".join([f"[watch {name}]", f"key = {key}", "prefix = yes", *lines, ""])


class File:
    """A configuration file whose lines a test knows, and the short delays that tests need."""

    def __init__(self, folder, endpoints):
        self.folder = str(folder)
        self.path = os.path.join(self.folder, "etchlet.conf")
        self.state = os.path.join(self.folder, "state")
        self.endpoints = getattr(endpoints, "url", endpoints)
        # A socket's path may not be longer than 107 bytes, and those of tests are.
        self.short = tempfile.mkdtemp(prefix="ec-", dir="/tmp")
        self.control = os.path.join(self.short, "control")

    def close(self):
        shutil.rmtree(self.short, ignore_errors=True)

    def head(self, *lines):
        return "\n".join([
            f"endpoints = {self.endpoints}", f"state = {self.state}", f"control = {self.control}",
            "device-id = d1", "backoff-min = 20ms", "backoff-max = 300ms", "probe-interval = 200ms",
            "idle-after = 400ms", *lines, ""])

    def write(self, *watches, head=()):
        """Replaces the file in one step. The first watch's section is on the line that is returned."""
        top = self.head(*head)
        with open(self.path + ".new", "w") as f:
            f.write(top + "\n" + "\n".join(watches))
        os.rename(self.path + ".new", self.path)
        return top.count("\n") + 2

    def status(self, etchlet):
        done = etchlet.run("status", "--json", "--control", self.control)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def watch_status(self, etchlet, name):
        answer = self.status(etchlet)
        return next((w for w in answer["watches"] if w["name"] == name), None) if answer else None


@pytest.fixture
def file_for(tmp_path):
    made = []

    def make(endpoints):
        made.append(File(tmp_path, endpoints))
        return made[-1]

    yield make
    for file in made:
        file.close()


def run(etchlet, file, *words, **options):
    return etchlet.start("run", "-c", file.path, *words, **options)


def one_line(data):
    lines = data.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def refused(etchlet, file, status=2):
    """The one line with which a start ends."""
    done = etchlet.run("run", "-c", file.path)
    assert done.returncode == status, done
    assert done.stdout == b""
    return one_line(done.stderr)


# What a start refuses.


def test_missing_file(etchlet, tmp_path):
    done = etchlet.run("run", "-c", str(tmp_path / "nope"))
    assert done.returncode == 2
    assert f"--config: '{tmp_path}/nope' cannot be read" in one_line(done.stderr)


def test_file_without_a_watch(etchlet, file_for):
    file = file_for(NOWHERE)
    file.write()
    assert "no section [watch NAME]" in refused(etchlet, file)


def test_unknown_word_is_named_with_its_line(etchlet, file_for):
    file = file_for(NOWHERE)
    line = file.write(text_of_watch("a", "/a/", *PRINT, "frob = 1"))
    assert f"{file.path}:{line + 4}: 'frob' is not known here" in refused(etchlet, file)


def test_certificate_that_is_missing_is_named_with_its_option(etchlet, file_for):
    file = file_for("https://127.0.0.1:1")
    file.write(text_of_watch("a", "/a/", *PRINT), head=["cacert = /nope.pem"])
    assert f"{file.path}:9: cacert: /nope.pem: no such file" in refused(etchlet, file)


@pytest.mark.parametrize("owner", ["no-such-user", "root:no-such-group"])
def test_unknown_owner_is_named_with_its_line(etchlet, file_for, tmp_path, owner):
    file = file_for(NOWHERE)
    line = file.write(text_of_watch("a", "/a/", f"mirror = {tmp_path}/m", f"mirror-owner = {owner}"))
    told = refused(etchlet, file)
    assert f"{file.path}:{line + 4}: mirror-owner: '{owner}'" in told
    assert not os.path.exists(tmp_path / "m")


def test_foreign_files_in_a_mirror(etchlet, file_for, tmp_path):
    file = file_for(NOWHERE)
    os.mkdir(tmp_path / "m")
    (tmp_path / "m" / "mine").write_text("x")
    line = file.write(text_of_watch("a", "/a/", f"mirror = {tmp_path}/first"),
                      text_of_watch("b", "/b/", f"mirror = {tmp_path}/m"))
    told = refused(etchlet, file)
    assert f"{file.path}:{line + 8}: mirror: " in told
    assert f"{tmp_path}/m" in told and "mirror-adopt" in told
    # Nothing was begun for the others.
    assert not os.path.exists(tmp_path / "first")
    assert sorted(os.listdir(tmp_path / "m")) == ["mine"]


def test_mirrors_in_one_another_by_a_link(etchlet, file_for, tmp_path):
    file = file_for(NOWHERE)
    os.makedirs(tmp_path / "m" / ".etchlet")
    os.mkdir(tmp_path / "m" / "in")
    os.symlink("m/in", tmp_path / "link")
    file.write(text_of_watch("a", "/a/", f"mirror = {tmp_path}/m"),
               text_of_watch("b", "/b/", f"mirror = {tmp_path}/link"))
    told = refused(etchlet, file)
    for words in ("watch b: ", f"mirror {tmp_path}/link ", f"mirror {tmp_path}/m of watch a"):
        assert words in told
    assert os.listdir(tmp_path / "m" / "in") == []


def test_summary_stands_first(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, *PRINT))
    for pattern in "synchronised", "resumes after revision":
        agent = run(etchlet, file)
        agent.wait_stderr(pattern)
        agent.stop()
    assert lines_of(agent, "info")[0] == f"etchlet: info: 1 watch, 1 endpoint, state file {file.state}"


def test_mirror_of_another_agent(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m"))
    agent = run(etchlet, file)
    wait.until(lambda: os.path.isdir(tmp_path / "m"), 5)
    agent.wait_stderr("state file")
    other = os.path.join(file.folder, "other.conf")
    with open(file.path) as f:
        text = f.read().replace(file.state, file.state + "2")
    with open(other, "w") as f:
        f.write(text)
    done = etchlet.run("run", "-c", other)
    assert done.returncode == 1
    assert f"{tmp_path}/m" in one_line(done.stderr)
    agent.stop()


def test_state_file_of_another_agent(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, *PRINT))
    agent = run(etchlet, file)
    agent.wait_lines(2)
    assert file.state in refused(etchlet, file, 1)
    agent.stop()


def test_forgetting_a_watch_that_has_a_section(etchlet, file_for):
    file = file_for(NOWHERE)
    file.write(text_of_watch("a", "/a/", *PRINT), head=["forget = old,a"])
    assert f"{file.path}:9: forget: 'a' has a section" in refused(etchlet, file)


def test_timeout_needs_once(etchlet, file_for):
    file = file_for(NOWHERE)
    file.write(text_of_watch("a", "/a/", *PRINT))
    done = etchlet.run("run", "-c", file.path, "--timeout=1s")
    assert done.returncode == 2 and b"--timeout" in done.stderr


# What a start survives.


def test_several_watches_one_of_them_named_watch(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("watch", prefix + "%i/", *PRINT), text_of_watch("b", prefix + "b/", *PRINT))
    etcd35.client.put(prefix + "d1/x", b"1")
    agent = run(etchlet, file)
    agent.wait_lines(5)
    etcd35.client.put(prefix + "b/y", b"2")
    agent.wait_key(prefix + "b/y")
    seen = [(e["watch"], e["type"]) for e in agent.events()]
    assert [t for w, t in seen if w == "watch"] == ["sync", "put", "synced"]
    assert [t for w, t in seen if w == "b"] == ["sync", "synced", "put"]
    agent.stop()
    assert {w["name"] for w in etchlet.state(file.state)["watches"]} == {"watch", "b"}


def lines_of(agent, level):
    return [l for l in agent.stderr().decode().splitlines() if l.startswith(f"etchlet: {level}")]


def test_without_a_server(etchlet, file_for, servers, prefix):
    fake = servers.fake()
    fake.refuse()
    file = file_for(fake)
    file.write(text_of_watch("a", prefix, *PRINT), text_of_watch("b", prefix + "b", *PRINT))
    agent = run(etchlet, file)
    agent.wait_stderr("connection refused")
    wait.holds_for(lambda: agent.is_running, 0.8, "the agent runs")
    assert len(lines_of(agent, "warn")) == 1, agent.tail()
    infos = lines_of(agent, "info")
    assert len(infos) == 1 and "2 watches, 1 endpoint" in infos[0] and file.state in infos[0]
    fake.listen()
    agent.wait_lines(4)
    agent.stop()


def test_without_dns(etchlet, file_for):
    file = file_for("http://no-such-host.invalid:2379")
    file.write(text_of_watch("a", "/a/", *PRINT))
    agent = run(etchlet, file)
    agent.wait_stderr("resolve no-such-host")
    wait.holds_for(lambda: agent.is_running, 0.5, "the agent runs")
    agent.stop()


def full_disk():
    """No file can grow: what a write meets on a full disk, without filling one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def test_full_state_device(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, *PRINT))
    agent = run(etchlet, file, preexec=full_disk)
    agent.wait_stderr(f"state file {re.escape(file.state)}: .*no space left")
    etcd35.client.put(prefix + "x", b"1")
    agent.wait_key(prefix + "x")
    assert len([l for l in lines_of(agent, "warn") if "state file" in l]) == 1
    resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    agent.stop()
    assert etchlet.state(file.state)["watches"][0]["position"] > 0


def test_read_only_state_is_told_at_the_start(etchlet, file_for):
    file = file_for(NOWHERE)
    # Where a user who is not root can read, and not write.
    file.state = os.path.join(file.short, "state")
    file.control = os.path.join(file.folder, "control")
    file.write(text_of_watch("a", "/a/", *PRINT))
    etchlet.run("run", "-c", file.path, "--once", "--timeout=100ms")
    agent = run(etchlet, file)
    agent.wait_stderr("refused")
    agent.stop()
    assert os.path.exists(file.state)
    os.chmod(file.state, 0o444)
    os.chmod(file.short, 0o555)
    copy = os.path.join("/tmp", os.path.basename(file.short) + ".conf")
    shutil.copy(file.path, copy)
    os.chmod(copy, 0o444)
    nobody = pwd.getpwnam("nobody").pw_uid

    def drop():
        if os.getuid() == 0:
            os.setuid(nobody)
    try:
        if os.getuid() == 0:
            os.chown(file.short, 0, 0)
            os.chmod(file.short, 0o755)
        binary = os.path.join("/tmp", os.path.basename(file.short) + ".bin")
        shutil.copy(etchlet.binary, binary)
        os.chmod(binary, 0o755)
        etchlet_binary, etchlet.binary = etchlet.binary, binary
        agent = etchlet.start("run", "-c", copy, preexec=drop)
        agent.wait_stderr(r"state file .*read-only")
        agent.wait_stderr("refused")
        assert len([l for l in lines_of(agent, "warn") if "state file" in l]) == 1
        agent.stop()
        etchlet.binary = etchlet_binary
    finally:
        os.chmod(file.short, 0o755)
        for path in (copy, binary):
            os.unlink(path)


def test_mirror_that_cannot_be_opened_holds_up_itself_alone(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix + "a/", f"mirror = {tmp_path}/not/there/m"),
               text_of_watch("b", prefix + "b/", *PRINT))
    (tmp_path / "not").write_text("in the way")
    etcd35.client.put(prefix + "a/x", b"1")
    etcd35.client.put(prefix + "b/x", b"1")
    agent = run(etchlet, file)
    agent.wait_key(prefix + "b/x")
    agent.wait_stderr("watch a: .*not/there")
    told = [l for l in lines_of(agent, "warn") if "watch a" in l]
    assert len(told) == 1 and f"{tmp_path}/not/there" in told[0]
    watch = file.watch_status(etchlet, "a")
    assert watch["synced"] is False and f"{tmp_path}/not/there" in watch["last_error"]
    wait.until(lambda: file.watch_status(etchlet, "b")["synced"], 5)
    os.unlink(tmp_path / "not")
    agent.send_signal(signal.SIGUSR1)
    wait.until(lambda: os.path.exists(tmp_path / "not/there/m/x"), 5, "the mirror")
    agent.wait_stderr("watch a: .*opened")
    agent.stop()


def test_standard_output_gone(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, *PRINT))
    read_end, write_end = os.pipe()
    agent = run(etchlet, file, stdout=write_end)
    os.close(write_end)
    assert os.read(read_end, 10)
    os.close(read_end)
    etcd35.client.put(prefix + "x", b"1")
    assert agent.wait_exit() == 1
    assert b"standard output" in agent.stderr()


# --once


def test_once(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    done_file = tmp_path / "done"
    file.write(text_of_watch("a", prefix + "a/", *PRINT),
               text_of_watch("b", prefix + "b/", f'exec = /bin/sh -c "cat >{tmp_path}/in; sleep 0.4; '
                                                 f'mv {tmp_path}/in {done_file}"'))
    for i in range(20):
        etcd35.client.put(f"{prefix}a/{i}", b"1")
        last = etcd35.client.put(f"{prefix}b/{i}", b"1")
    agent = run(etchlet, file, "--once")
    assert agent.wait_exit() == 0, agent.tail()
    assert len(agent.events()) == 22
    assert len(done_file.read_text().splitlines()) == 22
    assert {w["name"] for w in etchlet.state(file.state)["watches"]} == {"a", "b"}
    assert all(w["position"] >= last for w in etchlet.state(file.state)["watches"])
    # Nothing new: nothing is printed, no hook runs, and it is soon over.
    os.unlink(done_file)
    begin = time.monotonic()
    agent = run(etchlet, file, "--once")
    assert agent.wait_exit() == 0
    assert time.monotonic() - begin < 3
    assert agent.events() == [] and not done_file.exists()
    # Something new: that alone.
    etcd35.client.put(prefix + "a/new", b"1")
    agent = run(etchlet, file, "--once")
    assert agent.wait_exit() == 0
    assert [e.get("key") for e in agent.events()] == [prefix + "a/new"]


def test_once_tries_until_there_is_a_server(etchlet, file_for, servers, prefix):
    fake = servers.fake()
    fake.refuse()
    file = file_for(fake)
    file.write(text_of_watch("a", prefix, *PRINT))
    agent = run(etchlet, file, "--once", "--timeout=20s")
    agent.wait_stderr("refused")
    wait.holds_for(lambda: agent.is_running, 0.5)
    fake.listen()
    assert agent.wait_exit() == 0
    assert [e["type"] for e in agent.events()] == ["sync", "synced"]


def test_once_without_a_server_ends_at_the_timeout(etchlet, file_for, prefix):
    file = file_for(NOWHERE)
    file.write(text_of_watch("a", prefix, *PRINT), text_of_watch("bb", prefix + "b", *PRINT))
    begin = time.monotonic()
    agent = run(etchlet, file, "--once", "--timeout=500ms")
    assert agent.wait_exit() == 1
    assert 0.4 < time.monotonic() - begin < 2
    last = agent.stderr().decode().splitlines()[-1]
    assert "--timeout" in last and "watch a" in last and "watch bb" in last and "refused" in last


def test_once_with_a_hook_that_fails_names_its_watch_alone(etchlet, file_for, etcd35, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("good", prefix + "g/", *PRINT),
               text_of_watch("bad", prefix + "b/", "exec = /bin/false"))
    agent = run(etchlet, file, "--once", "--timeout=1s")
    assert agent.wait_exit() == 1
    last = [l for l in agent.stderr().decode().splitlines() if "--timeout" in l][0]
    assert "watch bad" in last and "watch good" not in last
    assert [w["name"] for w in etchlet.state(file.state)["watches"]] == ["good"]


def test_sigusr1_tries_the_state_file_again(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    file.state = f"{tmp_path}/not/there/state"
    file.write(text_of_watch("a", prefix, *PRINT))
    agent = run(etchlet, file)
    agent.wait_stderr("cannot open")
    wait.until(lambda: (file.watch_status(etchlet, "a") or {}).get("synced"), 5)
    os.makedirs(tmp_path / "not/there")
    agent.send_signal(signal.SIGUSR1)
    agent.wait_stderr("state file: written again", 3)
    assert file.watch_status(etchlet, "a")["saved_position"] is not None
    agent.stop()


def test_once_waits_for_a_mirror_that_cannot_be_opened(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/not/there/m"))
    (tmp_path / "not").write_text("in the way")
    etcd35.client.put(prefix + "x", b"1")
    agent = run(etchlet, file, "--once", "--timeout=60s")
    agent.wait_stderr("not/there")
    wait.holds_for(lambda: agent.is_running, 0.6)
    os.unlink(tmp_path / "not")
    agent.send_signal(signal.SIGUSR1)
    assert agent.wait_exit() == 0
    assert os.path.exists(tmp_path / "not/there/m/x")


@pytest.mark.parametrize("delay_ms", [5, 15, 25, 35])
def test_once_takes_no_stalled_network_for_quiet(etchlet, servers, file_for, etcd35, tmp_path, prefix, delay_ms):
    """Whenever it stalls: an exit with 0 means that what was there at the start is done."""
    link = servers.proxy(etcd35)
    file = file_for(link)
    out = tmp_path / "out"
    file.write(text_of_watch("a", prefix, f"print = {out}"))
    assert run(etchlet, file, "--once").wait_exit() == 0
    etcd35.client.put(prefix + "x", b"news")
    agent = run(etchlet, file, "--once", "--timeout=20s", "--dial-timeout=10s", "--command-timeout=10s",
                "--probe-interval=60s", "--idle-after=600s")
    time.sleep(delay_ms / 1000)
    link.hold()
    time.sleep(2)
    link.release()
    assert agent.wait_exit(15) == 0
    assert out.read_text().count("news") == 1


def test_once_is_stopped_like_any_other(etchlet, file_for):
    file = file_for(NOWHERE)
    file.write(text_of_watch("a", "/a/", *PRINT))
    agent = run(etchlet, file, "--once")
    agent.wait_stderr("refused")
    agent.stop()


# check


def check(etchlet, file):
    done = etchlet.run("check", "-c", file.path, "--json", "--dial-timeout=1s")
    report = json.loads(done.stdout)
    return done.returncode, {level: [f"{f['about']}: {f['what']} ({f['advice']})"
                                     for f in report["findings"] if f["level"] == level]
                             for level in ("error", "warning", "info")}


def test_check_of_good_sinks(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    os.mkfifo(tmp_path / "fifo")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m", "exec = sh -c true"),
               text_of_watch("b", prefix, f"print = {tmp_path}/fifo"),
               text_of_watch("c", prefix, f"print = {tmp_path}/new"), head=[f"metrics = {tmp_path}/prom"])
    before = sorted(os.listdir(tmp_path))
    status, found = check(etchlet, file)
    assert status == 0 and not found["error"] and not found["warning"], found
    text = "\n".join(found["info"])
    assert "watch a: mirror" in text and "watch a: exec sh" in text
    assert f"print {tmp_path}/fifo" in text and f"print {tmp_path}/new" in text
    assert sorted(os.listdir(tmp_path)) == before


def test_check_of_bad_sinks(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    os.mkdir(tmp_path / "full")
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "plain").write_text("x")
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/full", "exec = /no/program"),
               text_of_watch("b", prefix, f"exec = {tmp_path}/plain"),
               text_of_watch("c", prefix, f"print = {tmp_path}/nope/new"),
               text_of_watch("d", prefix, f"print = {tmp_path}"),
               text_of_watch("e", prefix, f"mirror = {tmp_path}/plain/m"), head=["metrics = /nope/prom"])
    status, found = check(etchlet, file)
    assert status == 2, "the folder of others is a mistake of the configuration"
    text = "\n".join(found["error"])
    for words in ("watch a: ", "mirror-adopt", "watch a: exec /no/program: no such file",
                  f"watch b: exec {tmp_path}/plain: permission denied", "watch c: print",
                  "watch d: print", "watch e: "):
        assert words in text, (words, found)
    assert "metrics" in "\n".join(found["warning"])


def test_check_beside_a_running_agent(etchlet, file_for, etcd35, tmp_path, prefix):
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, f"mirror = {tmp_path}/m"))
    agent = run(etchlet, file)
    wait.until(lambda: os.path.isdir(tmp_path / "m"), 5)
    agent.wait_stderr("synchronised")
    status, found = check(etchlet, file)
    assert status == 0 and not found["error"], found
    text = "\n".join(found["info"])
    assert f"in use by the agent that runs as process {agent.process.pid}" in text
    assert f"mirror {tmp_path}/m " in text
    agent.stop()
    text = "\n".join(check(etchlet, file)[1]["info"])
    assert "in use" not in text


def test_help_of_check_names_what_it_uses(etchlet):
    text = etchlet.run("help", "check").stdout
    for option in (b"--endpoints", b"--state", b"--control", b"--metrics ", b"--json", b"--forget"):
        assert option in text
    for option in (b"--keepalive", b"--backoff", b"--durability", b"--once", b"mirror ="):
        assert option not in text


# The example that is installed.


def test_the_example_is_good_and_names_every_option(full, tmp_path, pki):
    with open(os.path.join(BOARD, "etchlet.conf")) as f:
        example = f.read()
    assert not [l for l in example.splitlines() if l and not l.startswith("#")], "nothing is active"
    active = re.sub(r"^#(?=[a-z\[])", "", example, flags=re.M)
    # With the files that it names, and nobody at its addresses.
    for name, source in (("ca.pem", pki.root.cert), ("device.pem", pki.client["cert"]), ("device.key", pki.client["key"])):
        shutil.copy(source, tmp_path / name)
    (tmp_path / "release.pub").write_bytes(subprocess.run(
        ["openssl", "ec", "-in", pki.client["key"], "-pubout"], check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL).stdout)
    path = tmp_path / "example.conf"
    path.write_text(active.replace("/etc/etchlet/", f"{tmp_path}/").replace("10.0.0.1", "127.0.0.1"))
    done = full.run("check", "-c", str(path), "--endpoints", NOWHERE, "--device-id=d1", "--dial-timeout=200ms")
    assert done.returncode == 1, (done.stdout, done.stderr)
    known = full.run("help", "run").stdout.decode()
    options = set(re.findall(r"^\s+(?:-\w, )?--([a-z-]+)", known, re.M))
    options |= set(re.findall(r"^  ([a-z-]+) = ", known, re.M))
    named = set(re.findall(r"^([a-z-]+) = ", active, re.M))
    # In words only: it stands in the file's place for a password; those are for the command line.
    assert options - named == {"config", "password", "once", "timeout"}, options ^ named
    assert named <= options


def test_mode_of_what_a_start_makes(etchlet, file_for, etcd35, prefix):
    """Others may read a state file, and only the owner may ask for the status."""
    file = file_for(etcd35)
    file.write(text_of_watch("a", prefix, *PRINT))
    agent = run(etchlet, file)
    agent.wait_lines(2)
    wait.until(lambda: os.path.exists(file.control), 5)
    assert stat.S_IMODE(os.stat(file.control).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(file.state).st_mode) & 0o022 == 0
    agent.stop()
    assert not os.path.exists(file.control)

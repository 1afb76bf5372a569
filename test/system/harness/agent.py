# SPDX-License-Identifier: Apache-2.0
"""Running etchlet: its output line by line with deadlines, its stop, its memory, its state file."""

import base64
import json
import os
import re
import signal
import subprocess
import threading
import time

from . import wait
from .process import die_with_parent, kill_and_reap

SANITIZER = re.compile(rb"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")

# Room for a loaded machine on top of what is promised.
STOP_WITHIN_S = 1.0
STOP_SLACK_S = 0.4


class Reader:
    """Collects what comes from a pipe; a paused one reads nothing."""

    def __init__(self, fd, paused=False):
        self.fd = fd
        self.data = bytearray()
        self.is_closed = False
        self.changed = threading.Condition()
        self.gate = threading.Event()
        if not paused:
            self.gate.set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            self.gate.wait()
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            with self.changed:
                self.data += data
                self.is_closed = not data
                self.changed.notify_all()
            if not data:
                return

    def pause(self):
        self.gate.clear()

    def resume(self):
        self.gate.set()

    def bytes(self):
        with self.changed:
            return bytes(self.data)

    def lines(self):
        """Whole lines, without their ends."""
        return self.bytes().split(b"\n")[:-1]

    def wait_for(self, condition, timeout_s, what):
        """condition(bytes so far) until it is true; its result."""
        deadline = time.monotonic() + timeout_s
        with self.changed:
            while True:
                result = condition(bytes(self.data))
                if result:
                    return result
                left = deadline - time.monotonic()
                if left <= 0 or self.is_closed:
                    why = "output ended" if self.is_closed else f"not within {timeout_s} s"
                    raise wait.Timeout(f"{what}: {why}; so far: ...{bytes(self.data[-1500:])!r}")
                self.changed.wait(left)


class Agent:
    """A running etchlet."""

    def __init__(self, argv, env, stdout=None, paused=False, cwd=None, preexec=None):
        self.argv = argv
        own_pipe = stdout is None

        def prepare():
            die_with_parent()
            if preexec is not None:
                preexec()

        self.started = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if own_pipe else stdout,
            stderr=subprocess.PIPE, env=env, cwd=cwd, bufsize=0, preexec_fn=prepare)
        self.out = Reader(self.process.stdout.fileno(), paused) if own_pipe else None
        self.err = Reader(self.process.stderr.fileno())

    # Output.

    def events(self):
        """The JSON lines so far, parsed; a value that a stop cut off (marked so) is no event."""
        return [e for e in map(parse, self.out.lines()) if "truncated" not in e]

    def wait_lines(self, count, timeout_s=10.0):
        """The first count lines, as bytes."""
        self.out.wait_for(lambda d: d.count(b"\n") >= count, timeout_s, f"{count} lines")
        return self.out.lines()[:count]

    def wait_events(self, count, timeout_s=10.0):
        return [parse(line) for line in self.wait_lines(count, timeout_s)]

    def wait_event(self, condition, timeout_s=10.0, what="an event"):
        """The first event for which condition(event) is true."""
        seen = {"at": 0, "lines": 0}

        def search(data):
            while True:
                end = data.find(b"\n", seen["at"])
                if end < 0:
                    return None
                event = parse(data[seen["at"] : end])
                seen["at"] = end + 1
                if condition(event):
                    return event

        return self.out.wait_for(search, timeout_s, what)

    def wait_key(self, key, timeout_s=10.0):
        return self.wait_event(lambda e: e.get("key") == key, timeout_s, f"an event of {key}")

    def wait_stderr(self, pattern, timeout_s=10.0):
        """A case-blind regular expression somewhere on standard error."""
        compiled = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.I)
        return self.err.wait_for(compiled.search, timeout_s, f"standard error with {pattern!r}")

    def stderr(self):
        return self.err.bytes()

    # Life.

    @property
    def is_running(self):
        return self.process.poll() is None

    def _catches(self, number):
        """Whether it has come to catch the signal; a program that has just been started has not."""
        try:
            with open(f"/proc/{self.process.pid}/status") as f:
                caught = [line.split()[1] for line in f if line.startswith("SigCgt:")]
        except OSError:
            return True
        return not self.is_running or not caught or bool(int(caught[0], 16) >> (number - 1) & 1)

    def send_signal(self, number):
        if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            wait.until(lambda: self._catches(number), 10, f"signal {number} to be caught", 0.001)
        self.process.send_signal(number)

    def wait_exit(self, timeout_s=10.0):
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise wait.Timeout(f"still running after {timeout_s} s: {self.tail()}") from None
        self.err.thread.join(5)
        if self.out is not None and self.out.gate.is_set():
            self.out.thread.join(5)
        return status

    def stop(self, number=signal.SIGTERM, within_s=STOP_WITHIN_S):
        """A clean stop as promised: status 0, in time."""
        begin = time.monotonic()
        self.send_signal(number)
        status = self.wait_exit(within_s + 5)
        took = time.monotonic() - begin
        assert status == 0, f"stopped with status {status}: {self.tail()}"
        assert took <= within_s + STOP_SLACK_S, f"the stop took {took:.2f} s"

    def kill(self):
        """As a power cut would."""
        kill_and_reap(self.process)
        self.wait_exit()

    def tail(self):
        return self.err.bytes()[-2000:].decode(errors="replace")

    def peak_kb(self):
        """The highest resident memory since the start."""
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        raise AssertionError("no VmHWM")

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check_sanitizer(self):
        found = SANITIZER.search(self.stderr())
        assert not found, self.stderr().decode(errors="replace")[-6000:]


class Etchlet:
    """The program: runs its commands, starts agents and knows all of them."""

    def __init__(self, binary, home):
        self.binary = binary
        self.home = home
        self.agents = []
        self.env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        with open(binary, "rb") as f:
            self.is_sanitized = b"__asan_init" in f.read()

    def run(self, *arguments, timeout_s=15, env=None):
        """Runs to the end; stdout, stderr and returncode."""
        done = subprocess.run([self.binary, *map(_text, arguments)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout_s,
                              env={**self.env, **(env or {})}, cwd=self.home)
        found = SANITIZER.search(done.stderr)
        assert not found, done.stderr.decode(errors="replace")[-6000:]
        assert done.returncode >= 0, f"killed by signal {-done.returncode}: {done.stderr!r}"
        return done

    def start(self, *arguments, env=None, **options):
        agent = Agent([self.binary, *map(_text, arguments)], {**self.env, **(env or {})},
                      cwd=self.home, **options)
        self.agents.append(agent)
        return agent

    def watch(self, endpoints, *arguments, json_lines=True, quick=True, **options):
        """`etchlet watch` with JSON lines and short delays between attempts."""
        words = ["watch", "--endpoints", getattr(endpoints, "url", endpoints)]
        if json_lines:
            words += ["-w", "json"]
        if quick:
            words += ["--backoff-min=20ms", "--backoff-max=500ms"]
        return self.start(*words, *arguments, **options)

    def get(self, endpoints, *arguments, **options):
        return self.run("get", "--endpoints", getattr(endpoints, "url", endpoints), *arguments,
                        **options)

    def state(self, path):
        """What `etchlet state --json` says, or None when no record is intact."""
        done = self.run("state", "--json", path)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def position(self, path):
        """The newest position in a state file, or None."""
        if not os.path.exists(path):
            return None
        state = self.state(path)
        if state is None or not state["watches"]:
            return None
        assert {w["name"] for w in state["watches"]} == {"watch"}
        return max(w["position"] for w in state["watches"])

    def wait_position(self, path, at_least, timeout_s=10.0):
        return wait.until(lambda: (self.position(path) or -1) >= at_least and self.position(path),
                          timeout_s, f"a saved position of {at_least} or more", 0.05)

    def end_all(self, graceful=True):
        """For the fixture: every agent that still runs must stop well, none may be unclean."""
        problems = []
        for agent in self.agents:
            try:
                if agent.is_running and graceful:
                    agent.stop()
                agent.check_sanitizer()
            except AssertionError as error:
                problems.append(str(error))
            finally:
                kill_and_reap(agent.process)
        assert not problems, "\n".join(problems)


def _text(word):
    return word if isinstance(word, (str, bytes)) else str(word)


def parse(line):
    """One JSON line; strict about what may stand in it."""
    event = json.loads(line.decode("utf-8"), object_pairs_hook=_no_duplicates)
    assert isinstance(event, dict) and "type" in event, line
    return event


def _no_duplicates(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), f"a member twice: {names}"
    return dict(pairs)


def key_of(event):
    return _bytes_of(event, "key")


def value_of(event):
    return _bytes_of(event, "value")


def _bytes_of(event, name):
    if name in event:
        return event[name].encode()
    return base64.b64decode(event[name + "_base64"], validate=True)


INLINE_VALUE_MAX = 16384


def _member(name, data):
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    if text is None or (name.endswith("value") and len(data) > INLINE_VALUE_MAX):
        return f'"{name}_base64":"{base64.b64encode(data).decode()}"'
    return f'"{name}":{json.dumps(text, ensure_ascii=False)}'


def put_line(kv, prev=None, sync=False):
    """The exact line of a put (control characters as Python writes them)."""
    line = (f'{{"type":"put",{_member("key", kv.key)},{_member("value", kv.value)},'
            f'"create_revision":{kv.create_revision},"mod_revision":{kv.mod_revision},'
            f'"version":{kv.version},"lease":"{kv.lease}"')
    if prev is not None:
        line += "," + _member("prev_value", prev)
    if sync:
        line += ',"sync":true'
    return (line + "}").encode()


def delete_line(key, revision, prev=None):
    line = f'{{"type":"delete",{_member("key", key)},"mod_revision":{revision}'
    if prev is not None:
        line += "," + _member("prev_value", prev)
    return (line + "}").encode()

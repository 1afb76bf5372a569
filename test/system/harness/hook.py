# SPDX-License-Identifier: Apache-2.0
"""
A hook that writes down all it was given and behaves as it is told: fails, hangs, ignores signals,
leaves children behind, prints, reads nothing. What it saw is read back as Runs.
"""

import base64
import json
import os

from . import wait
from .agent import parse

_SCRIPT = r'''#!/usr/bin/python3 -IS
import os, sys, time
at, begin = sys.argv[1], time.monotonic()
fds = sorted(int(n) for n in os.listdir("/proc/self/fd"))
fds = [n for n in fds if os.path.exists("/proc/self/fd/%d" % n)]
import json, signal, base64
number = 1
while True:
    try:
        os.close(os.open("%s/%d.taken" % (at, number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        break
    except FileExistsError:
        number += 1
def note(name, what):
    path = "%s/%d.%s" % (at, number, name)
    with open(path + ".new", "w") as f:
        json.dump(what, f)
    os.rename(path + ".new", path)
try:
    with open(at + "/plan") as f:
        plan = json.load(f)
except FileNotFoundError:
    plan = {}
how = plan.get(str(number), plan.get("default", {}))
with open("/proc/self/status") as f:
    status = dict(line.split(":", 1) for line in f)
note("begin", {"at": begin, "pid": os.getpid(), "pgid": os.getpgrp(), "sid": os.getsid(0),
               "ppid": os.getppid(), "argv": sys.argv, "env": dict(os.environb and
               {os.fsdecode(k): os.fsdecode(v) for k, v in os.environb.items()}), "fds": fds,
               "cwd": os.getcwd(), "blocked": status["SigBlk"].strip(),
               "ignored": status["SigIgn"].strip(), "umask": status.get("Umask", "").strip()})
if how.get("ignore_term"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how.get("note_term"):
    def termed(*_):
        note("term", time.monotonic())
        sys.exit(how.get("term_exit", 1))
    signal.signal(signal.SIGTERM, termed)
data = None
if not how.get("no_read"):
    data = b""
    while True:
        piece = os.read(0, how.get("piece", 1 << 16))
        if not piece:
            break
        data += piece
        if how.get("read_only") and len(data) >= how["read_only"]:
            break
        if how.get("slowly"):
            time.sleep(how["slowly"])
    files = {}
    mirror = os.environ.get("ETCHLET_MIRROR") or os.environ.get("ETCHLET_FETCH")
    for line in data.split(b"\n"):
        if mirror and b'"path":' in line:
            try:
                path = json.loads(line)["path"]
                with open(os.path.join(mirror, path), "rb") as f:
                    files[path] = base64.b64encode(f.read()).decode()
            except (OSError, ValueError, KeyError) as error:
                files.setdefault("?", repr(error))
    note("input", {"data": base64.b64encode(data).decode(), "files": files})
for fd, text in how.get("print", []):
    text = base64.b64decode(text)
    while text:
        text = text[os.write(fd, text):]
if how.get("flood"):
    for _ in range(how["flood"]):
        os.write(1, b"x" * 999 + b"\n")
if how.get("close"):
    for fd in (0, 1, 2):
        os.close(fd)
if how.get("fork"):
    # A child that holds all descriptors; in the same process group, or as a daemon in its own.
    if os.fork() == 0:
        if how["fork"] == "daemon":
            os.setsid()
        note("child", {"pid": os.getpid(), "pgid": os.getpgrp()})
        time.sleep(how.get("child_s", 600))
        os._exit(0)
    while not os.path.exists("%s/%d.child" % (at, number)):
        time.sleep(0.002)
gate = how.get("gate")
while gate and not os.path.exists(at + "/" + gate):
    time.sleep(0.005)
time.sleep(how.get("sleep_s", 0))
note("end", {"at": time.monotonic()})
if how.get("kill"):
    os.kill(os.getpid(), how["kill"])
sys.stdout = sys.stderr = None
os._exit(how.get("exit", 0))
'''


class Run:
    """One run of the hook, as far as it has written it down."""

    def __init__(self, directory, number):
        self.number = number
        begin = _load(directory, number, "begin")
        self.begin = begin["at"]
        self.pid, self.pgid, self.sid, self.ppid = (begin[n] for n in ("pid", "pgid", "sid", "ppid"))
        self.argv, self.env, self.fds, self.cwd = (begin[n] for n in ("argv", "env", "fds", "cwd"))
        self.blocked, self.ignored = int(begin["blocked"], 16), int(begin["ignored"], 16)
        taken = _load(directory, number, "input")
        self.stdin = None if taken is None else base64.b64decode(taken["data"])
        self.files = {} if taken is None else {
            k: v if k == "?" else base64.b64decode(v) for k, v in taken["files"].items()}
        end = _load(directory, number, "end")
        self.end = None if end is None else end["at"]
        self.term = _load(directory, number, "term")
        self.child = _load(directory, number, "child")

    @property
    def lines(self):
        assert self.stdin is not None, f"run {self.number} has read nothing"
        assert self.stdin == b"" or self.stdin.endswith(b"\n"), "the input ends in half a line"
        return [parse(line) for line in self.stdin.split(b"\n")[:-1]]

    @property
    def events(self):
        """The events, and the puts of a listing."""
        return [e for e in self.lines if e["type"] in ("put", "delete")]

    @property
    def keys(self):
        return [e["key"] for e in self.events]

    @property
    def revision(self):
        return int(self.env["ETCHLET_REVISION"])

    @property
    def reason(self):
        return self.env["ETCHLET_REASON"]


def _load(directory, number, name):
    try:
        with open(f"{directory}/{number}.{name}") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


class Hook:
    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory)
        self.program = os.path.join(directory, "hook")
        with open(self.program, "w") as f:
            f.write(_SCRIPT)
        os.chmod(self.program, 0o755)

    @property
    def command(self):
        return [self.program, self.directory]

    def plan(self, default=None, **by_number):
        """How runs behave: default, and run N as rN={...}. Replaced in one step."""
        plan = {name[1:]: how for name, how in by_number.items()}
        if default is not None:
            plan["default"] = default
        path = os.path.join(self.directory, "plan")
        with open(path + ".new", "w") as f:
            json.dump(plan, f)
        os.rename(path + ".new", path)

    def open_gate(self, name="gate"):
        open(os.path.join(self.directory, name), "w").close()

    def runs(self):
        """All that have begun, in order."""
        found, number = [], 1
        while _load(self.directory, number, "begin") is not None:
            found.append(Run(self.directory, number))
            number += 1
        return found

    def ended(self):
        return [r for r in self.runs() if r.end is not None]

    def wait_begun(self, count, timeout_s=10.0):
        """The count-th run, begun."""
        self._wait(lambda: os.path.exists(f"{self.directory}/{count}.begin"), timeout_s,
                   f"run {count} of the hook begins")
        return Run(self.directory, count)

    def wait_input(self, count, timeout_s=10.0):
        self._wait(lambda: os.path.exists(f"{self.directory}/{count}.input"), timeout_s,
                   f"run {count} of the hook has read its input")
        return Run(self.directory, count)

    def wait_ended(self, count, timeout_s=10.0):
        self._wait(lambda: os.path.exists(f"{self.directory}/{count}.end"), timeout_s,
                   f"run {count} of the hook ends")
        return Run(self.directory, count)

    def wait_event(self, key, timeout_s=10.0, revision=None):
        """The first run that ended and was given this key."""
        seen = {"at": 1}

        def search():
            while os.path.exists(f"{self.directory}/{seen['at']}.end"):
                run = Run(self.directory, seen["at"])
                seen["at"] += 1
                if run.stdin and any(e.get("key") == key and revision in (None, e["mod_revision"])
                                     for e in run.events):
                    return run
            # A run that was killed has no end; those after it count all the same.
            if os.path.exists(f"{self.directory}/{seen['at'] + 1}.begin"):
                seen["at"] += 1
            return None
        return self._wait(search, timeout_s, f"a run of the hook with {key}")

    def _wait(self, condition, timeout_s, what):
        try:
            return wait.until(condition, timeout_s, what, 0.01)
        except wait.Timeout as error:
            runs = [(r.number, r.env.get("ETCHLET_REASON"), r.env.get("ETCHLET_REVISION"),
                     r.end is not None) for r in self.runs()]
            raise wait.Timeout(f"{error}; runs so far (number, reason, revision, ended): "
                               f"{runs[-12:]}") from None

    def assert_one_at_a_time(self):
        runs = self.runs()
        for before, after in zip(runs, runs[1:]):
            assert before.end is None or before.end <= after.begin, \
                f"run {after.number} began before run {before.number} had ended"


def text(*pieces):
    """For a plan's "print": (descriptor, bytes) pairs."""
    return [(fd, base64.b64encode(data).decode()) for fd, data in pieces]


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

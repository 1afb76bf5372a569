# SPDX-License-Identifier: Apache-2.0
"""Faults at system calls, by strace: which calls there are, an error at the n-th, a kill at the n-th."""

import os
import re
import shutil
import signal
import subprocess

from . import wait
from .process import die_with_parent, kill_and_reap

# Those that change a file system, or make sure that it was changed.
CALLS = ("openat", "write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "sync_file_range", "syncfs",
         "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
         "symlinkat", "chmod", "fchmod", "fchmodat", "fchown", "fchownat", "ftruncate", "fallocate", "utimensat",
         "close",
         "getdents64", "newfstatat", "fstat", "read", "pread64", "lseek", "flock")


def why_not():
    """Why nothing can be traced here, or None. That strace is missing is no reason but a failure."""
    assert shutil.which("strace"), "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return None if done.returncode == 0 else done.stdout.decode(errors="replace").strip()


class Tracer:
    """Traces a process that runs, from now on until close() or its end."""

    def __init__(self, pid, *expressions, log="/dev/null"):
        command = ["strace", "-o", log]
        for expression in expressions:
            command += ["-e", expression]
        self.process = subprocess.Popen([*command, "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        said = b""
        while b"attached" not in said:
            piece = os.read(self.process.stderr.fileno(), 4096)
            assert piece, f"strace cannot attach to the agent: {said.decode(errors='replace')}"
            said += piece

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                kill_and_reap(self.process)
        self.process.stderr.close()


class count:
    """Counts the calls of a process during a with block: {call: how often}, once it is over."""

    def __init__(self, pid, log, *expressions):
        self.pid = pid
        self.log = log
        self.expressions = expressions

    def __enter__(self):
        self.calls = {}
        self.tracer = Tracer(self.pid, "trace=" + ",".join("?" + c for c in CALLS), *self.expressions, log=self.log)
        return self.calls

    def __exit__(self, *_):
        self.tracer.close()
        self.calls.update(count_log(self.log))


def count_log(log):
    found = {}
    with open(log, errors="replace") as f:
        for line in f:
            match = re.match(r"(?:\d+ +)?([a-z0-9_]+)\(", line)
            if match:
                found[match.group(1)] = found.get(match.group(1), 0) + 1
    return found


def wait_gone(agent, timeout_s=10):
    wait.until(lambda: not agent.is_running, timeout_s, "the agent is killed")

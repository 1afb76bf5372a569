#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Measures etchlet against etcdctl on a real etcd, and prints a table.

    test/bench/bench.py --binary PATH --etcd-dir DIR [--events N]

CPU time is user + system of the client process alone, for `watch -w json` of the same events into
/dev/null or a file, both clients in the same run: once all events at once from the server's
history (up to 1,000 a response), once as they happen (one a response). Memory is VmHWM of
/proc/PID/status.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from event_server import EventServer  # noqa: E402
from harness.etcd import ROOMY, Etcd, tools  # noqa: E402
from harness.pki import Authority  # noqa: E402


def lines_in(path):
    with open(path, "rb") as f:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))


def wait_for(condition, what, timeout_s=300):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {what}: not within {timeout_s} s")
        time.sleep(0.02)


def finish(process):
    """Ends it and returns user + system seconds."""
    process.terminate()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


def status_kb(pid, field):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    raise SystemExit(f"bench: no {field} in /proc/{pid}/status")


class Bench:
    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.etchlet = os.path.abspath(options.binary)
        self.etcdctl = tools("3.5", "etcdctl")
        self.rows = []

    def row(self, what, ours, theirs=None, budget=""):
        self.rows.append((what, ours, theirs if theirs is not None else "", budget))

    def watch(self, name, argv, out):
        output = open(out, "wb")
        environment = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.Popen(argv, stdout=output, stderr=subprocess.DEVNULL, env=environment)

    def commands(self, etcd, prefix, rev):
        url = etcd.url
        start = ["--rev", str(rev)] if rev else []
        return {
            "etchlet": [self.etchlet, "watch", "--endpoints", url, "--prefix", prefix, "-w", "json",
                        "--log-level", "error", *start],
            "etcdctl": [self.etcdctl, "--endpoints", url, "watch", "--prefix", prefix, "-w", "json",
                        *start],
        }

    def events_at_once(self, etcd, n, value, label, budget):
        client = etcd.new_client()
        first = client.revision() + 1
        prefix = f"/bench/{label}/"
        client.put_many(((f"{prefix}{i:08d}/some/longer/path/to/a/key/of/sixty".encode()[:60], value)
                         for i in range(n)))
        client.close()
        used = {}
        for name, argv in self.commands(etcd, prefix, first).items():
            out = os.path.join(self.scratch, f"{name}-once")
            process = self.watch(name, argv, out)
            if name == "etchlet":
                wait_for(lambda: lines_in(out) >= n, f"{name}: {n} events")
            else:
                wait_for(lambda: os.path.getsize(out) and self.etcdctl_events(out) >= n,
                         f"{name}: {n} events")
            used[name] = finish(process)
        self.compare(f"CPU per event, {len(value)} B values, up to 1,000 a response", used, n, budget)

    def events_one_by_one(self, n, budget):
        server = EventServer(n, b"/bench/one/with/some/longer/path/to/a/key/of/sixty/",
                             b"twenty bytes of text")
        used = {}
        for name, argv in self.commands(server, "/bench/one/", 0).items():
            out = os.path.join(self.scratch, f"{name}-one")
            process = self.watch(name, argv, out)
            wait_for(lambda: lines_in(out) >= n, f"{name}: {n} events")
            used[name] = finish(process)
        server.close()
        self.compare("CPU per event, 20 B values, one a response", used, n, budget)

    @staticmethod
    def etcdctl_events(path):
        with open(path, "rb") as f:
            return f.read().count(b'"mod_revision"')

    def compare(self, what, used, n, budget):
        ours, theirs = (used[k] / n * 1e6 for k in ("etchlet", "etcdctl"))
        ratio = theirs / ours if ours else float("inf")
        self.row(what, f"{ours:.2f} us (1/{ratio:.1f})", f"{theirs:.2f} us", budget)

    def memory(self, etcd, keys, large_len, argv_tls, budget):
        client = etcd.new_client()
        prefix = "/bench/memory/"
        client.put_many((f"{prefix}{i:08d}".encode(), b"v" * 100) for i in range(keys))
        first = client.revision() - keys + 1
        out = os.path.join(self.scratch, "memory")
        process = self.watch("etchlet", [self.etchlet, "watch", "--endpoints", etcd.url, "--prefix",
                                         prefix, "-w", "json", "--rev", str(first), *argv_tls], out)
        wait_for(lambda: lines_in(out) >= keys, "20,000 keys")
        client.put(prefix.encode() + b"large", b"x" * large_len)
        wait_for(lambda: lines_in(out) >= keys + 1, "the large value")
        peak = status_kb(process.pid, "VmHWM")
        finish(process)
        client.close()
        self.row(f"peak RSS, https, {keys:,} keys and a value of {large_len >> 20} MiB",
                 f"{peak} KiB", "", budget)

    def start_up(self, etcd, budget):
        """By get: etcd itself lets a watch with a past revision wait for up to 100 ms."""
        client = etcd.new_client()
        client.put(b"/bench/start", b"v")
        client.close()
        best, cpu = 1e9, 1e9
        for _ in range(30):
            begin = time.monotonic()
            process = subprocess.Popen([self.etchlet, "get", "--endpoints", etcd.url, "/bench/start",
                                        "-w", "json"], stdout=subprocess.PIPE)
            process.stdout.readline()
            best = min(best, time.monotonic() - begin)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            cpu = min(cpu, usage.ru_utime + usage.ru_stime)
            process.stdout.close()
        self.row("first line after start, exec included (get, best of 30)",
                 f"{best * 1000:.1f} ms, {cpu * 1000:.1f} ms CPU", "", budget)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--etcd-dir", required=True)
    parser.add_argument("--events", type=int, default=100000)
    options = parser.parse_args()
    os.environ["ETCD_DIR"] = os.path.abspath(options.etcd_dir)
    with tempfile.TemporaryDirectory(prefix="etchlet-bench-") as scratch:
        bench = Bench(options, scratch)
        etcd = Etcd("3.5").start()
        try:
            bench.start_up(etcd, "2 ms, 1.5 ms CPU")
            bench.events_at_once(etcd, options.events, b"twenty bytes of text", "small", "1/6")
            bench.events_one_by_one(options.events, "1/25")
            bench.events_at_once(etcd, max(options.events // 20, 100), b"x" * 4096, "4k", "1/4")
        finally:
            etcd.stop()
        issued = Authority(scratch).issue("etcd", san="DNS:localhost,IP:127.0.0.1")
        ca = os.path.join(scratch, "root", "ca.pem")
        etcd = Etcd("3.5", tls={"cert": issued["cert"], "key": issued["key"], "ca": ca}, flags=ROOMY)
        etcd.start()
        try:
            bench.memory(etcd, 20000, 1 << 20, ["--cacert", ca], "1 MiB")
            bench.memory(etcd, 20000, 8 << 20, ["--cacert", ca], "8 MiB")
        finally:
            etcd.stop()
    width = max(len(r[0]) for r in bench.rows)
    print(f"{'':{width}}  {'etchlet':24} {'etcdctl':12} budget")
    for what, ours, theirs, budget in bench.rows:
        print(f"{what:{width}}  {ours:24} {theirs:12} {budget}")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""`etchlet run`: its configuration file, its status, its folders, its stop."""

import json
import os
import shutil
import signal
import tempfile

from . import config, mirror_model, status, wait
from .agent import STOP_WITHIN_S, Agent, _text
from .config import Watch

STOP_WITH_HOOK_S = 7.0

# Short delays, so that trouble that is over is soon over for the test as well. Not so for the idle
# rule: it takes a server that is late by more than its times for one that has nothing to say.
QUICK = {"backoff_min": "20ms", "backoff_max": "400ms", "probe_interval": "300ms",
         "idle_after": "60s", "state_interval": "50ms"}
IDLE = {"probe_interval": "300ms", "idle_after": "600ms"}


class RunAgent(Agent):
    """A running `etchlet run`."""

    def __init__(self, runner, argv, env, has_hook, **options):
        super().__init__(argv, env, cwd=runner.etchlet.home, **options)
        self.runner = runner
        self.has_hook = has_hook

    def stop(self, number=signal.SIGTERM, within_s=None):
        if within_s is None:
            within_s = STOP_WITH_HOOK_S if self.has_hook else STOP_WITHIN_S
        super().stop(number, within_s)

    def status(self):
        """The whole answer, checked, or None when the agent does not answer yet."""
        return self.runner.status()

    def watch(self, name):
        """One watch's part of the status; None when it is not there."""
        answer = self.status()
        for watch in answer["watches"] if answer else []:
            if watch["name"] == name:
                return watch
        return None

    def wait_status(self, condition, timeout_s=10.0, what="the status"):
        """condition(status) until it is true; that status."""
        last = [None]

        def is_true():
            assert self.is_running, f"the agent ended: {self.tail()}"
            last[0] = self.status()
            return last[0] is not None and condition(last[0])
        try:
            wait.until(is_true, timeout_s, what, 0.03)
        except wait.Timeout:
            raise wait.Timeout(f"{what}: not within {timeout_s} s; status: {json.dumps(last[0])}; "
                               f"standard error: {self.tail()}") from None
        return last[0]

    def wait_watch(self, name, condition, timeout_s=10.0, what=None):
        found = self.wait_status(
            lambda s: any(w["name"] == name and condition(w) for w in s["watches"]), timeout_s,
            what or f"the status of {name}")
        return next(w for w in found["watches"] if w["name"] == name)

    def wait_synced(self, *names, timeout_s=15.0):
        """Until these watches, or all of them, are synchronised."""
        def is_synced(answer):
            chosen = [w for w in answer["watches"] if not names or w["name"] in names]
            return len(chosen) == (len(names) or len(answer["watches"])) and \
                all(w["synced"] for w in chosen)
        return self.wait_status(is_synced, timeout_s, f"{names or 'all'} synchronised")

    def wait_position(self, name, at_least, timeout_s=10.0):
        return self.wait_watch(name, lambda w: (w["position"] or 0) >= at_least, timeout_s,
                               f"{name} at {at_least} or more")

    def fds(self):
        """The open descriptors, as {number: what it is}."""
        found = {}
        at = f"/proc/{self.process.pid}/fd"
        for number in os.listdir(at):
            try:
                found[int(number)] = os.readlink(f"{at}/{number}")
            except OSError:
                pass
        return found

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise AssertionError("no VmRSS")


class Runner:
    """Writes configuration files below a directory of the test and runs `etchlet run` with them."""

    def __init__(self, etchlet, directory):
        self.etchlet = etchlet
        self.directory = directory
        self.config = os.path.join(directory, "etchlet.conf")
        self.state = os.path.join(directory, "run-state")
        self.endpoints = None
        self.watches = []
        self.options = {}
        # A socket's path may not be longer than 107 bytes, and those of tests are.
        self.short = tempfile.mkdtemp(prefix="ec-", dir="/tmp")
        self.control = os.path.join(self.short, "control")

    def close(self):
        shutil.rmtree(self.short, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.directory, name)

    def configure(self, endpoints, *watches, **options):
        """Writes the file; options of the file replace the quick ones, None leaves one out."""
        self.endpoints = getattr(endpoints, "url", endpoints)
        self.watches = list(watches)
        self.options = {"endpoints": self.endpoints, "state": self.state, "control": self.control,
                        "device_id": "device-1", **QUICK, **options}
        config.write(self.config, self.watches, **self.options)
        return self.config

    def start(self, endpoints=None, *watches, words=(), env=None, preexec=None, prefix=(),
              **options):
        """Starts the agent, with a new file when endpoints are given, else with what is there."""
        if endpoints is not None:
            self.configure(endpoints, *watches, **options)
        argv = [*map(_text, prefix), self.etchlet.binary, "run", "--config", self.config,
                *map(_text, words)]
        agent = RunAgent(self, argv, {**self.etchlet.env, **(env or {})},
                         any("exec" in w.options for w in self.watches), preexec=preexec)
        self.etchlet.agents.append(agent)
        return agent

    def mirror(self, endpoints, key, folder, prefix=True, words=(), env=None, preexec=None,
               mirror_options=None, **options):
        """One watch named "w" with a mirror."""
        watch = Watch("w", key, prefix, mirror=folder, **(mirror_options or {}))
        return self.start(endpoints, watch, words=words, env=env, preexec=preexec, **options)

    def once(self, *words, timeout_s=30, env=None):
        """`run --once` with the file that is there, to its end."""
        return self.etchlet.run("run", "--config", self.config, "--once", *words,
                                timeout_s=timeout_s, env=env)

    def status(self):
        done = self.etchlet.run("status", "--json", "--control", self.control)
        return status.parse(done.stdout) if done.returncode == 0 else None

    def positions(self):
        """{name: newest position} in the state file; empty when no record is intact."""
        if not os.path.exists(self.state):
            return {}
        state = self.etchlet.state(self.state)
        return {} if state is None else {w["name"]: w["position"] for w in state["watches"]}

    def wait_saved(self, name, at_least, timeout_s=10.0):
        return wait.until(lambda: self.positions().get(name, 0) >= at_least, timeout_s,
                          f"a saved position of {name} of {at_least} or more", 0.05)

    def wait_mirror(self, folder, watch_key, pairs, timeout_s=15.0, alive=None, **options):
        mirror_model.wait_equal(folder, mirror_model.tree(watch_key, pairs, **options), timeout_s,
                                alive)


def pairs_of(etcd, start, end):
    """{key: value} at a server."""
    return {kv.key: kv.value for kv in etcd.client.range(start, end).kvs}

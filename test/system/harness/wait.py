# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition with a deadline, and ports nobody else uses."""

import os
import random
import socket
import time

_random = random.Random(os.urandom(8))


class Timeout(AssertionError):
    """A condition did not come true in time."""


def until(condition, timeout_s=10.0, what="the condition", interval_s=0.02):
    """Calls condition() until its result is true, and returns that; Timeout after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise Timeout(f"{what}: not within {timeout_s} s (last: {result!r})")
        time.sleep(interval_s)


def holds_for(condition, seconds, what="the condition", interval_s=0.05):
    """Asserts that condition() stays true for that long: a promise that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"{what}: came to an end"
        time.sleep(interval_s)


def free_port(host="127.0.0.1"):
    """A port that is free now, below the range from which the kernel gives client ports."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = _random.randrange(12000, 32000)
        with socket.socket(family, socket.SOCK_STREAM) as s:
            try:
                s.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")

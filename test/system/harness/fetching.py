# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of artifacts: a watch "w" that fetches into a folder, and what its hook is told."""

import pytest

from . import hook as hook_module
from .config import Watch


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "artifacts")


@pytest.fixture
def hook(tmp_path):
    return hook_module.Hook(str(tmp_path / "hook"))


@pytest.fixture
def start(full_runner, etcd35, prefix, folder):
    """start() runs a watch "w" that fetches into the folder; options of the watch by name."""
    def begin(server=None, words=(), env=None, agent_options=None, watches=(), preexec=None, **options):
        return full_runner.start(server or etcd35, Watch("w", prefix, fetch=folder, **options), *watches, words=words,
                                 env=env, preexec=preexec, **(agent_options or {}))
    return begin


@pytest.fixture
def put(etcd35, prefix):
    """put(key, value) below the test's prefix; the revision."""
    def to_etcd(key, value):
        etcd35.client.put((prefix + key).encode(), value)
        return etcd35.client.last_header.revision
    return to_etcd

# SPDX-License-Identifier: Apache-2.0
"""Folders of a certain kind for a test: small disks, and a folder outside that nobody may touch."""

import os
import shutil
import subprocess
import tempfile

import pytest


class Disk:
    """A small file system in memory; for root only, else the test is skipped."""

    def __init__(self, path, size="512k"):
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system")
        os.makedirs(path, exist_ok=True)
        self.path = path
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stdout.decode()}")

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def fill(self):
        """Takes the room that is left."""
        with open(os.path.join(self.path, "ballast"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass

    def free(self):
        os.unlink(os.path.join(self.path, "ballast"))

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=False)


@pytest.fixture
def disks():
    """disks(path, size="512k") mounts one."""
    made = []

    def make(path, size="512k"):
        made.append(Disk(path, size))
        return made[-1]
    yield make
    for disk in made:
        disk.close()


@pytest.fixture
def memory_dir():
    """A folder in memory, for tests with very many files."""
    path = tempfile.mkdtemp(prefix="mirror-", dir=os.environ.get("ETCHLET_SCRATCH"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Outside:
    """A folder beside the mirror, with a file and a folder in it, that must stay as it was made."""

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "folder"))
        for name in ("file", "a", "folder/file", "folder/a"):
            with open(os.path.join(path, name), "wb") as f:
                f.write(b"outside " + name.encode())
            os.chmod(os.path.join(path, name), 0o600)
        os.makedirs(os.path.join(path, "empty"))
        os.chmod(path, 0o700)
        self.made = self.look()

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def look(self):
        found = {}
        for at, folders, files in os.walk(self.path):
            for name in folders + files + [""]:
                path = os.path.join(at, name)
                s = os.lstat(path)
                content = None
                if name in files:
                    with open(path, "rb") as f:
                        content = f.read()
                found[path] = (s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_mtime_ns, content)
        return found

    def assert_untouched(self):
        now = self.look()
        changed = [p for p in set(now) | set(self.made) if now.get(p) != self.made.get(p)]
        assert not changed, f"outside the mirror was changed: {sorted(changed)}"


@pytest.fixture
def outside(tmp_path):
    made = Outside(str(tmp_path / "outside"))
    yield made
    made.assert_untouched()

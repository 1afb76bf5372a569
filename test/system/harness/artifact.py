# SPDX-License-Identifier: Apache-2.0
"""Artifacts: what a key's value says of one, its signature, and what must be in the folder."""

import base64
import hashlib
import json
import os
import random
import subprocess

from . import mirror_model, wait

PIECE = 1 << 16


def content(seed, size):
    """Bytes that differ at every offset and from every other seed's."""
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def zeros_digest(size):
    """Of a file of zeros."""
    sha = hashlib.sha256()
    piece = bytes(1 << 20)
    for at in range(0, size, len(piece)):
        sha.update(piece[: min(len(piece), size - at)])
    return sha.hexdigest()


def value(url, data=b"", **members):
    """The value of a key, for these bytes; members in place of those, None leaves one out."""
    told = {"url": url, "sha256": digest(data), "size": len(data), **members}
    return json.dumps({n: v for n, v in told.items() if v is not None}).encode()


class Signer:
    """A key pair of ECDSA on a curve; public is the file for fetch-pubkey."""

    def __init__(self, directory, name="signer", curve="prime256v1"):
        self.private = os.path.join(directory, name + ".key")
        self.public = os.path.join(directory, name + ".pub")
        self._openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", self.private)
        self._openssl("ec", "-in", self.private, "-pubout", "-out", self.public)

    def sign(self, data, algorithm="-sha256"):
        """As a member of the value: base64 of the signature in DER."""
        done = self._openssl("dgst", algorithm, "-sign", self.private, stdin=data)
        return base64.b64encode(done).decode()

    @staticmethod
    def _openssl(*arguments, stdin=None):
        return subprocess.run(["openssl", *arguments], check=True, input=stdin or b"",
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


def files(folder):
    """{name: content} of what is in place; nothing else may be there but the agent's own folder."""
    if not os.path.isdir(folder):
        return {}
    return {os.fsdecode(n): data for n, data in mirror_model.read(folder).files.items()}


def wait_files(folder, wanted, timeout_s=15.0, agent=None):
    """Until exactly these are in place."""
    def is_so():
        assert agent is None or agent.is_running, f"the agent ended: {agent.tail()}"
        try:
            return files(folder) == wanted
        except FileNotFoundError:  # one was replaced while it was looked at
            return False
    try:
        wait.until(is_so, timeout_s, "the folder")
    except wait.Timeout:
        found = files(folder)
        raise wait.Timeout(
            f"in the folder: {sorted((n, len(d)) for n, d in found.items())}, wanted: "
            f"{sorted((n, len(d)) for n, d in wanted.items())}, other than wanted: "
            f"{sorted(n for n in found if n in wanted and found[n] != wanted[n])}; status: "
            f"{agent.status() if agent else None}; log: {agent.tail() if agent else ''}") from None


def leftovers(folder):
    """Bytes of what is kept of downloads that are not in place: the agent's own files."""
    total = 0
    for at, _, names in os.walk(os.path.join(folder, ".etchlet")):
        for name in names:
            total += os.path.getsize(os.path.join(at, name))
    return total

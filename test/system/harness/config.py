# SPDX-License-Identifier: Apache-2.0
"""
Writes a configuration file. Values are quoted where they need it, so a key may hold any byte; a
percent sign is doubled unless the text comes as Raw.
"""

import os
import re

_PLAIN = re.compile(rb"[A-Za-z0-9/._:,@+=~-]+\Z")


class Raw(str):
    """Stands in the file as it is."""


def quote(value):
    """The bytes as a quoted word: every byte that is not plain text as \\xNN."""
    out = bytearray(b'"')
    for byte in value:
        if byte in b'"\\':
            out += b"\\" + bytes([byte])
        elif byte == 0x25:
            out += b"%%"
        elif 0x20 <= byte < 0x7F:
            out.append(byte)
        else:
            out += b"\\x%02x" % byte
    return bytes(out + b'"')


def word(value):
    value = os.fsencode(value)
    return value if _PLAIN.match(value) else quote(value)


def text_of(value):
    if isinstance(value, Raw):
        return os.fsencode(str(value))
    if isinstance(value, bool):
        return b"yes" if value else b"no"
    if isinstance(value, (list, tuple)):
        return b" ".join(word(v) for v in value)
    if isinstance(value, (str, bytes)):
        return word(value)
    return str(value).encode()


def line(name, value):
    return name.replace("_", "-").encode() + b" = " + text_of(value) + b"\n"


class Watch:
    """A [watch NAME] section. Options as in the file, with _ in place of -."""

    def __init__(self, name, key, prefix=True, **options):
        self.name = name
        self.key = os.fsencode(key)
        self.prefix = prefix
        self.options = options

    def text(self):
        out = b"\n[watch %s]\n" % self.name.encode() + line("key", self.key)
        if self.prefix:
            out += line("prefix", True)
        for name, value in self.options.items():
            if value is not None:
                out += line(name, value)
        return out


def write(path, watches, **options):
    """Replaces the file in one step; options with the value None are left out."""
    text = b"".join(line(n, v) for n, v in options.items() if v is not None)
    text += b"".join(w.text() for w in watches)
    with open(path + ".new", "wb") as f:
        f.write(text)
    os.rename(path + ".new", path)

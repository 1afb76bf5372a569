#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes hpack.h: header blocks as an encoder of another hand (python3-hpack) makes them.

Run it as: /usr/bin/python3 make_hpack.py > hpack.h
The numbers are drawn from a fixed seed, so the output changes only with the encoder.
"""
import random

import hpack

SEED = 7541
SEQUENCES = 6
BLOCKS = 9
NAMES = [b"content-type", b"grpc-status", b"grpc-message", b"date", b"server", b"x-trace-id", b"etag",
         b"set-cookie", b"x" * 60, b"age", b"via"]
BYTES = bytes(range(256))
TEXT = b"abcdefghijklmnopqrstuvwxyz0123456789 -_./%ABCXYZ=,;:"


def c_string(data):
    return '"' + "".join(chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else "\\%03o" % c for c in data) + '"'


def c_lines(data, text, step):
    parts = [data[i:i + step] for i in range(0, len(data), step)] or [data]
    return "\n".join("\t\t" + text(p) for p in parts)


def value(rng):
    kind = rng.random()
    if kind < 0.3:
        return str(rng.randrange(1000)).encode()
    if kind < 0.9:
        return bytes(rng.choice(TEXT) for _ in range(rng.randrange(40)))
    return bytes(rng.choice(BYTES) for _ in range(rng.randrange(1, 200)))


def sequence(rng, index):
    enc = hpack.Encoder()
    pool = [(rng.choice(NAMES), value(rng)) for _ in range(20)]
    for i in range(BLOCKS):
        if rng.random() < 0.3:
            enc.header_table_size = rng.choice([0, 64, 200, 1000, 4096])
        fields = [(b":status", rng.choice([b"200", b"404", b"503"]))]
        for _ in range(rng.randrange(8)):
            fields.append(rng.choice(pool) if rng.random() < 0.7 else (rng.choice(NAMES), value(rng)))
        sensitive = [f if rng.random() < 0.9 else hpack.NeverIndexedHeaderTuple(*f) for f in fields]
        block = enc.encode(sensitive, huffman=index % 3 != 0)
        want = b"".join(n + b"=" + v + b"\n" for n, v in fields)
        table = sum(len(n) + len(v) + 32 for n, v in enc.header_table.dynamic_entries)
        yield i == 0, block, want, table


def main():
    rng = random.Random(SEED)
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* Written by make_hpack.py with python3-hpack %s. */" % hpack.__version__)
    print("/* clang-format off */")
    print("static const struct hpack_vector hpack_vectors[] = {")
    for index in range(SEQUENCES):
        for first, block, want, table in sequence(rng, index):
            print("\t{%s, %d, %d, %d,\n%s,\n%s},"
                  % ("true" if first else "false", table, len(want), len(block),
                     c_lines(block.hex(), lambda p: '"' + p + '"', 100), c_lines(want, c_string, 30)))
    print("};")


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes etcd.h: messages of etcd's API as Google's protobuf encodes them, and what a reader of
them must see. Deterministic. Usage: make_etcd.py > etcd.h (needs protoc and python3-protobuf)."""

import os
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
with tempfile.TemporaryDirectory() as tmp:
    subprocess.run(["protoc", "-I", here, "--python_out", tmp, "etcd_api.proto"], check=True)
    sys.path.insert(0, tmp)
    sys.dont_write_bytecode = True
    import etcd_api_pb2 as api

BIG = (1 << 62) - 1


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, wire, data):
    """One field; data: an int for a varint, else bytes as they are (with a length for wire type 2)."""
    if wire == 0:
        data = varint(data & ((1 << 64) - 1))
    elif wire == 2:
        data = varint(len(data)) + data
    return varint(number << 3 | wire) + data


def trace_value(which, data):
    return f"{which} {data.hex()}\n" if data else ""


def trace_begin(m, is_watch):
    h = m.header
    out = f"B {int(m.HasField('header'))} {h.cluster_id} {h.member_id} {h.revision} {h.raft_term}"
    if is_watch:
        reason = m.cancel_reason.encode()[:256]
        return out + (
            f" {m.watch_id} {int(m.created)}{int(m.canceled)}{int(m.fragment)}"
            f" {m.compact_revision} {reason.hex()}\n"
        )
    return out + " 0 000 0 \n"


def trace_event(etype, kv, prev, is_listed):
    assert len(kv.key) <= 64  # the least that CONFIG_ETCD_KEY_BYTES may be
    out = (
        f"E {etype} {int(is_listed)}0 {kv.key.hex()} {len(kv.key)}"
        f" {kv.create_revision} {kv.mod_revision} {kv.version} {len(kv.value)}\n"
    )
    out += trace_value("V", kv.value)
    prev_value = prev.value if prev is not None else b""
    out += trace_value("P", prev_value)
    return out + f"X {kv.lease} {int(prev is not None)} {len(prev_value)} {len(kv.value)}\n"


def trace(kind, data):
    if kind == "WATCH":
        m = api.WatchResponse.FromString(data)
        out = trace_begin(m, True)
        for e in m.events:
            out += trace_event(e.type, e.kv, e.prev_kv if e.HasField("prev_kv") else None, False)
        return out + f"Z 0 0 {len(m.events)}\n"
    m = api.RangeResponse.FromString(data)
    out = trace_begin(m, False)
    for kv in m.kvs:
        out += trace_event(0, kv, None, True)
    return out + f"Z {int(m.more)} {m.count} {len(m.kvs)}\n"


header = api.ResponseHeader(
    cluster_id=14841639068965178418, member_id=10276657743932975437, revision=100000, raft_term=2
)
H = field(1, 2, header.SerializeToString())


def kv(**args):
    return api.KeyValue(**args)


put = api.Event(
    kv=kv(key=b"/a/key", create_revision=7, mod_revision=12, version=4, value=b"value", lease=-3)
)
delete = api.Event(type=1, kv=kv(key=b"/a/key", mod_revision=13))
replaced = api.Event(
    kv=kv(key=b"k", create_revision=7, mod_revision=14, version=5, value=b"new"),
    prev_kv=kv(key=b"k", create_revision=7, mod_revision=12, version=4, value=b"old one", lease=9),
)
deleted = api.Event(
    type=1,
    kv=kv(key=b"k", mod_revision=15),
    prev_kv=kv(key=b"k", create_revision=7, mod_revision=14, version=5, value=b"new"),
)
emptied = api.Event(
    kv=kv(key=b"\x00\xff", create_revision=1 << 40, mod_revision=BIG, version=1),
    prev_kv=kv(key=b"\x00\xff", create_revision=1, mod_revision=BIG),
)
long = api.Event(kv=kv(key=b"l" * 60, create_revision=300, mod_revision=300, version=1, value=bytes(range(256))))


def watch(**args):
    return api.WatchResponse(header=header, **args).SerializeToString()


UNKNOWN = (
    field(8, 0, (1 << 64) - 1)
    + field(15, 1, b"12345678")
    + field(16, 5, b"1234")
    + field(100, 2, b"\x0b\x0c" * 70)
    + field((1 << 29) - 1, 2, b"")
)
KV = kv(key=b"key", create_revision=2, mod_revision=300, version=1, value=b"v").SerializeToString()


def event_of(*parts):
    return field(11, 2, b"".join(parts))


splits = {
    "empty": ("WATCH", b""),
    "created": ("WATCH", watch(watch_id=3, created=True)),
    "denied": (
        "WATCH",
        watch(
            watch_id=-1,
            created=True,
            canceled=True,
            cancel_reason="rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        ),
    ),
    "compacted": (
        "WATCH",
        api.WatchResponse(
            header=api.ResponseHeader(cluster_id=5, member_id=6, raft_term=7),
            watch_id=1,
            canceled=True,
            compact_revision=99,
        ).SerializeToString(),
    ),
    "long_reason": ("WATCH", watch(canceled=True, cancel_reason="r" * 256 + "x" * 300)),
    "progress": ("WATCH", watch(watch_id=-1)),
    "no_header": ("WATCH", api.WatchResponse(events=[put]).SerializeToString()),
    "put": ("WATCH", watch(events=[put])),
    "transaction": ("WATCH", watch(watch_id=1, events=[put, delete, long, replaced, deleted, emptied, put])),
    "fragment": ("WATCH", watch(watch_id=2, fragment=True, events=[put, delete])),
    "empty_header": ("WATCH", field(1, 2, b"") + event_of(field(2, 2, KV))),
    "unknown_fields": (
        "WATCH",
        UNKNOWN
        + H
        + UNKNOWN
        + field(
            11,
            2,
            UNKNOWN
            + field(2, 2, UNKNOWN + KV + UNKNOWN)
            + UNKNOWN
            + field(3, 2, UNKNOWN + KV + UNKNOWN)
            + UNKNOWN,
        )
        + UNKNOWN,
    ),
    "unknown_type": ("WATCH", H + event_of(field(1, 0, 7), field(2, 2, KV)) + event_of(field(1, 0, 300)) + event_of(field(1, 0, 8), field(3, 2, KV))),
    "negative_type": ("WATCH", H + event_of(field(1, 0, -1), field(2, 2, KV))),
    "last_counts": (
        "WATCH",
        field(2, 0, 8)
        + field(1, 2, field(3, 0, 5) + field(4, 0, 1))
        + field(1, 2, field(3, 0, 6))
        + field(2, 0, 9)
        + field(6, 2, b"first reason")
        + field(6, 2, b"second")
        + event_of(
            field(1, 0, 1),
            field(1, 0, 0),
            field(
                2,
                2,
                field(1, 2, b"one")
                + field(3, 0, 1)
                + field(3, 0, 2)
                + field(1, 2, b"the other")
                + field(5, 2, b"")
                + field(5, 2, b"v")
                + field(6, 0, 1)
                + field(6, 0, 2),
            ),
        ),
    ),
    "other_order": (
        "WATCH",
        field(7, 0, 1)
        + field(6, 2, b"why")
        + field(2, 0, 4)
        + H
        + event_of(
            field(1, 0, 0),
            field(
                2,
                2,
                field(6, 0, 77) + field(4, 0, 3) + field(3, 0, 9) + field(1, 2, b"key") + field(2, 0, 8) + field(5, 2, b"value"),
            ),
            field(3, 2, field(6, 0, 5) + field(5, 2, b"prev") + field(2, 0, 1)),
        )
        # what is without a value may come in any order at all
        + event_of(field(3, 2, field(1, 2, b"key")), field(2, 2, field(3, 0, 4) + field(1, 2, b"key")), field(1, 0, 1))
        # and what was told may be said again
        + H
        + field(2, 0, 4),
    ),
    "long_varints": (
        "WATCH",
        b"\x10\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00"
        + b"\x8a\x80\x80\x00\x04\x18\xac\x82\x00"
        + b"\xda\x80\x00\x0d\x12\x8a\x00\x0a\x83\x00key\x18\x89\x80\x00",
    ),
    "true_is_any": ("WATCH", field(3, 0, 2) + field(4, 0, (1 << 64) - 1) + field(7, 0, 1 << 32)),
    "nothing_listed": ("RANGE", api.RangeResponse(header=header, count=5).SerializeToString()),
    "listing": (
        "RANGE",
        api.RangeResponse(
            header=header, kvs=[put.kv, delete.kv, long.kv, emptied.kv, put.kv], more=True, count=12345
        ).SerializeToString(),
    ),
    "listing_order": (
        "RANGE",
        field(4, 0, 2) + field(3, 0, 1) + H + field(2, 2, KV) + field(4, 0, 3) + field(2, 2, field(3, 0, 5) + field(1, 2, b"k")) + UNKNOWN,
    ),
    "listing_no_header": ("RANGE", api.RangeResponse(kvs=[put.kv]).SerializeToString()),
}

messages = {
    "range_key": api.RangeRequest(key=b"/key"),
    "range_page": api.RangeRequest(key=b"/key\0", range_end=b"/kez", limit=100, revision=1 << 40),
    "range_flags": api.RangeRequest(key=b"\0", range_end=b"\0", serializable=True, keys_only=True, count_only=True),
    "watch_create": api.WatchRequest(
        create_request=api.WatchCreateRequest(
            key=b"/key", range_end=b"/kez", start_revision=43, progress_notify=True, prev_kv=True, fragment=True
        )
    ),
    "watch_create_key": api.WatchRequest(create_request=api.WatchCreateRequest(key=b"k")),
    "watch_cancel": api.WatchRequest(cancel_request=api.WatchCancelRequest(watch_id=7)),
    "watch_cancel_first": api.WatchRequest(cancel_request=api.WatchCancelRequest(watch_id=0)),
    "watch_progress": api.WatchRequest(progress_request=api.WatchProgressRequest()),
    "authenticate": api.AuthenticateRequest(name="dev-1", password="s3cret"),
    "authenticate_empty": api.AuthenticateRequest(name="dev-1"),
    "authenticated": api.AuthenticateResponse(header=header, token="cXJvb3Q.12"),
    "status": api.StatusResponse(
        header=header,
        version="3.5.16",
        dbSize=20480,
        leader=10276657743932975437,
        raftIndex=9,
        raftTerm=2,
        raftAppliedIndex=9,
        errors=["NOSPACE", "CORRUPT"],
        dbSizeInUse=16384,
        isLearner=True,
        storageVersion="3.5.0",
        dbSizeQuota=1 << 31,
    ),
    "status_bare": api.StatusResponse(),
    "range_response": api.RangeResponse(header=header, kvs=[put.kv, long.kv], count=2),
}


def c_bytes(data):
    lines = []
    for i in range(0, len(data), 20):
        lines.append('\t\t"' + "".join(f"\\x{b:02x}" for b in data[i : i + 20]) + '"')
    return "\n".join(lines) if lines else '\t\t""'


def c_text(text):
    lines = []
    for line in text.splitlines():
        for i in range(0, len(line), 80):
            end = "\\n" if i + 80 >= len(line) else ""
            lines.append(f'\t\t"{line[i : i + 80]}{end}"')
    return "\n".join(lines)


print("/* SPDX-License-Identifier: Apache-2.0 */")
print("/* Written by make_etcd.py: messages as Google's protobuf encodes and decodes them. */")
print("#ifndef ETCHLET_TEST_VECTORS_ETCD_H\n#define ETCHLET_TEST_VECTORS_ETCD_H\n")
print("#include <stddef.h>\n")
print("/* trace: what the callbacks are told, see test_split.c. */")
print("struct split_vector {\n\tconst char *name;\n\tint is_range;\n\tconst char *bytes;\n\tsize_t len;\n\tconst char *trace;\n};\n")
print("struct msg_vector {\n\tconst char *name;\n\tconst char *bytes;\n\tsize_t len;\n};\n")
print("#ifdef WANT_SPLIT_VECTORS")
print("static const struct split_vector split_vectors[] = {")
for name, (kind, data) in splits.items():
    print(f'\t{{"{name}", {int(kind == "RANGE")},\n{c_bytes(data)},\n\t\t{len(data)},\n{c_text(trace(kind, data))}}},')
print("};\n#endif\n")
print("#ifdef WANT_MSG_VECTORS")
print("static const struct msg_vector msg_vectors[] = {")
for name, m in messages.items():
    data = m.SerializeToString()
    print(f'\t{{"{name}",\n{c_bytes(data)},\n\t\t{len(data)}}},')
print("};\n#endif\n\n#endif")

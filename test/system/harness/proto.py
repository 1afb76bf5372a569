# SPDX-License-Identifier: Apache-2.0
"""
The protobuf messages of etcd's API that the tests speak, written by hand: an encoder, a decoder and
the few messages that are used. Field numbers are those of etcd's rpc.proto, kv.proto and auth.proto.
"""

from dataclasses import dataclass
from types import SimpleNamespace

PUT, DELETE = 0, 1
U64 = (1 << 64) - 1


def varint(value):
    value &= U64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(*fields, keep_zero=False):
    """(number, value) pairs; int and bool as varint, bytes and str with a length, lists repeated."""
    out = bytearray()
    for number, value in fields:
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is None or (not item and not keep_zero and not isinstance(value, (list, tuple))):
                continue
            if isinstance(item, str):
                item = item.encode()
            if isinstance(item, (bytes, bytearray)):
                out += varint(number << 3 | 2) + varint(len(item)) + item
            else:
                out += varint(number << 3) + varint(int(item))
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & U64, at
        shift += 7


def decode(data):
    """{field number: [values in order]}; varints unsigned, the rest as bytes."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = read_varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(data, at)
        elif kind == 2:
            length, at = read_varint(data, at)
            value = bytes(data[at : at + length])
            if len(value) != length:
                raise ValueError("truncated field")
            at += length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value = bytes(data[at : at + length])
            at += length
        else:
            raise ValueError(f"wire type {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def one(fields, number, default=0):
    """The last value of a field, as protobuf wants it."""
    return fields[number][-1] if number in fields else default


@dataclass
class KeyValue:
    key: bytes
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0

    def encode(self):
        return encode((1, self.key), (2, self.create_revision), (3, self.mod_revision),
                      (4, self.version), (5, self.value), (6, self.lease))

    @classmethod
    def decode(cls, data):
        f = decode(data)
        return cls(one(f, 1, b""), one(f, 5, b""), one(f, 2), one(f, 3), one(f, 4),
                   signed(one(f, 6)))


@dataclass
class Event:
    type: int
    kv: KeyValue
    prev_kv: KeyValue = None

    def encode(self):
        return encode((1, self.type), (2, self.kv.encode()),
                      (3, self.prev_kv.encode() if self.prev_kv else None))

    @classmethod
    def decode(cls, data):
        f = decode(data)
        prev = one(f, 3, None)
        return cls(one(f, 1), KeyValue.decode(one(f, 2, b"")),
                   KeyValue.decode(prev) if prev is not None else None)


def header(cluster_id=0, member_id=0, revision=0, raft_term=0):
    return encode((1, cluster_id), (2, member_id), (3, revision), (4, raft_term))


def decode_header(data):
    f = decode(data)
    return SimpleNamespace(cluster_id=one(f, 1), member_id=one(f, 2), revision=signed(one(f, 3)),
                           raft_term=one(f, 4))


def watch_response(header=b"", watch_id=0, created=False, canceled=False, compact_revision=0,
                   cancel_reason="", fragment=False, events=(), extra=b""):
    return encode((1, header), (2, watch_id), (3, created), (4, canceled), (5, compact_revision),
                  (6, cancel_reason), (7, fragment),
                  (11, [e if isinstance(e, bytes) else e.encode() for e in events])) + extra


def decode_watch_response(data):
    f = decode(data)
    return SimpleNamespace(
        header=decode_header(one(f, 1, b"")), watch_id=signed(one(f, 2)), created=bool(one(f, 3)),
        canceled=bool(one(f, 4)), compact_revision=signed(one(f, 5)),
        cancel_reason=one(f, 6, b"").decode(), fragment=bool(one(f, 7)),
        events=[Event.decode(e) for e in f.get(11, [])])


def watch_create(key, range_end=b"", start_revision=0, progress_notify=False, prev_kv=False,
                 watch_id=0, fragment=False):
    return encode((1, encode((1, key), (2, range_end), (3, start_revision), (4, progress_notify),
                             (6, prev_kv), (7, watch_id), (8, fragment))))


def decode_watch_request(data):
    """create, cancel_id and progress; those that were not asked for are None."""
    f = decode(data)
    request = SimpleNamespace(create=None, cancel_id=None, progress=None)
    if 1 in f:
        c = decode(one(f, 1))
        request.create = SimpleNamespace(
            key=one(c, 1, b""), range_end=one(c, 2, b""), start_revision=signed(one(c, 3)),
            progress_notify=bool(one(c, 4)), prev_kv=bool(one(c, 6)), watch_id=signed(one(c, 7)),
            fragment=bool(one(c, 8)), filters=c.get(5, []))
    if 2 in f:
        request.cancel_id = signed(one(decode(one(f, 2)), 1))
    if 3 in f:
        request.progress = True
    return request


def range_request(key, range_end=b"", limit=0, revision=0, serializable=False, keys_only=False,
                  count_only=False, sort_order=0, sort_target=0):
    return encode((1, key), (2, range_end), (3, limit), (4, revision), (5, sort_order),
                  (6, sort_target), (7, serializable), (8, keys_only), (9, count_only))


def decode_range_request(data):
    f = decode(data)
    return SimpleNamespace(
        key=one(f, 1, b""), range_end=one(f, 2, b""), limit=signed(one(f, 3)),
        revision=signed(one(f, 4)), sort_order=one(f, 5), sort_target=one(f, 6),
        serializable=bool(one(f, 7)), keys_only=bool(one(f, 8)), count_only=bool(one(f, 9)),
        min_mod_revision=signed(one(f, 10)))


def range_response(header=b"", kvs=(), more=False, count=0):
    return encode((1, header), (2, [kv.encode() for kv in kvs]), (3, more), (4, count))


def decode_range_response(data):
    f = decode(data)
    return SimpleNamespace(header=decode_header(one(f, 1, b"")),
                           kvs=[KeyValue.decode(kv) for kv in f.get(2, [])],
                           more=bool(one(f, 3)), count=one(f, 4))


def put_request(key, value, lease=0):
    return encode((1, key), (2, value), (3, lease))


def delete_request(key, range_end=b""):
    return encode((1, key), (2, range_end))


def txn_request(ops):
    """ops: ("put", key, value[, lease]) or ("delete", key[, range_end])."""
    encoded = []
    for op in ops:
        if op[0] == "put":
            encoded.append(encode((2, put_request(*op[1:])), keep_zero=True))
        else:
            encoded.append(encode((3, delete_request(*op[1:])), keep_zero=True))
    return encode((2, encoded))


def prefix_end(prefix):
    """The range end that makes a range of a prefix."""
    end = bytearray(prefix)
    while end and end[-1] == 0xFF:
        end.pop()
    if not end:
        return b"\0"
    end[-1] += 1
    return bytes(end)


def in_range(key, start, end):
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)

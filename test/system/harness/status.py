# SPDX-License-Identifier: Apache-2.0
"""What `etchlet status --json` answers: the members a program may rely on, and their types."""

import json

from .agent import _no_duplicates

NULL = type(None)
ID = "id"  # a decimal string

MEMBERS = {
    "version": str, "pid": int, "uptime_s": int, "connected": bool, "endpoint": (str, NULL),
    "cluster_id": (ID, NULL), "member_id": (ID, NULL), "reconnects": int, "last_error": (str, NULL),
    "probe": {"revision": (int, NULL), "age_s": (int, NULL)},
    "state": {"file": (str, NULL), "writes": int, "bytes": int, "erases": int, "recovered": bool},
    "memory": {"rss_kb": int, "heap_peak_bytes": (int, NULL)},
    "watches": list,
}
WATCH_MEMBERS = {
    "name": str, "key": str, "prefix": bool, "synced": bool, "position": (int, NULL),
    "saved_position": (int, NULL), "events": int, "batches": int, "syncs": int,
    "last_sync_reason": (str, NULL), "sink_errors": int, "unmappable": int, "too_long": int,
    "unknown": int, "last_skipped": (str, NULL), "last_error": (str, NULL),
}


def fits(value, kinds):
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        if kind is ID:
            if isinstance(value, str) and value.isdigit() and str(int(value)) == value:
                return True
        elif kind is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return True
        elif isinstance(value, kind):
            return True
    return False


def faults(answer, members=None, where=""):
    """What is wrong with the members that are promised; others may be there too."""
    found = []
    for name, kinds in (members or MEMBERS).items():
        if name not in answer:
            found.append(f"{where}{name} is missing")
        elif isinstance(kinds, dict):
            # A whole group that is not known yet may be null.
            if answer[name] is not None:
                found += faults(answer[name], kinds, f"{where}{name}.")
        elif not fits(answer[name], kinds):
            found.append(f"{where}{name} is {answer[name]!r}")
    if members is None and isinstance(answer.get("watches"), list):
        for i, watch in enumerate(answer["watches"]):
            found += faults(watch, WATCH_MEMBERS, f"watches[{i}].")
    return found


def parse(text):
    answer = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates)
    found = faults(answer)
    assert not found, "; ".join(found)
    return answer

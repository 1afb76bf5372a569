#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the text exposition format of Prometheus (version 0.0.4) strictly, and checks names by its conventions.

    metrics_check.py FILE         print what is wrong; exit status 1 when anything is
    metrics_check.py --self-test  show that each fault is found
"""

import re
import sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r"(%s)(?:\{(.*)\})? (\S+)$" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"')
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
# As "promtool check metrics" has them: only base units, and no unit cut short.
BAD_UNITS = ("milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "kilobytes", "megabytes",
             "kilobits", "bits", "percent", "ms", "us", "ns", "sec", "secs", "min", "kb", "mb", "b")
VALUE = re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)$|\+Inf$|NaN$")


def labels_of(text):
    """{name: value}, or None when it is malformed."""
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match or match.group(1) in found:
            return None
        found[match.group(1)] = match.group(2)
        at = match.end()
        if at < len(text):
            if text[at] != ",":
                return None
            at += 1
    return found


def check_name(name, kind):
    parts = name.split("_")
    if (kind == "counter") != (parts[-1] == "total"):
        yield "%s: counters, and they alone, end in _total" % name
    for part in parts:
        if part in BAD_UNITS:
            yield "%s: %s is no base unit" % (name, part)
        if part in TYPES:
            yield "%s: the type stands in the name" % name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield "%s: not in snake case" % name


def check(data):
    """The faults of a file's bytes, as lines."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return ["not UTF-8: %s" % error]
    if not text.endswith("\n"):
        return ["empty, or the last line has no end"]
    faults, helped, types, seen, current = [], {}, {}, set(), None
    for number, line in enumerate(text[:-1].split("\n"), 1):
        comment = re.match(r"# (HELP|TYPE) (%s) (.+)$" % NAME, line)
        sample = SAMPLE.match(line)
        if comment:
            what, name, rest = comment.groups()
            table = helped if what == "HELP" else types
            if name in table:
                faults.append("%d: a second %s of %s" % (number, what, name))
            if what == "TYPE" and rest not in TYPES:
                faults.append("%d: no type: %s" % (number, rest))
            if what == "TYPE" and name not in helped:
                faults.append("%d: %s has no HELP" % (number, name))
            table[name] = rest
            current = name
        elif sample:
            name, inside, value = sample.groups()
            labels = labels_of(inside or "")
            if name != current or name not in types:
                faults.append("%d: %s stands outside its family" % (number, name))
            if labels is None:
                faults.append("%d: malformed labels" % number)
            elif (name, tuple(sorted(labels.items()))) in seen:
                faults.append("%d: the same series again" % number)
            else:
                seen.add((name, tuple(sorted(labels.items()))))
            if not VALUE.match(value):
                faults.append("%d: no value: %s" % (number, value))
            elif types.get(name) == "counter" and value.startswith("-"):
                faults.append("%d: a counter below zero" % number)
        else:
            faults.append("%d: malformed: %r" % (number, line))
    for name, kind in types.items():
        faults += check_name(name, kind)
    return faults


def self_test():
    good = b'# HELP a_total A.\n# TYPE a_total counter\na_total{w="x\\"y\\\\",v="}, "} 1\na_total{w="z"} 2\n'
    bad = [b"", b"a 1", b"a_total 1\n", good + good, good.replace(b'"z"', b'"z'), good.replace(b"} 2", b"} two"),
           good.replace(b"a_total", b"a"), good.replace(b"counter", b"gauge"), good.replace(b"a_total", b"a_ms_total"),
           good.replace(b"} 2", b"} -2"), good.replace(b"# HELP a_total A.\n", b""), good.replace(b"z", b"\xff"),
           good + b"\n", good + b'a_total{w="z"} 3\n', good.replace(b"a_total", b"a_gauge_total"),
           good.replace(b"counter", b"number"), good.replace(b'\\"y', b'\\y')]
    wrong = ["refused: %s" % fault for fault in check(good)]
    wrong += ["accepted: %r" % data for data in bad if not check(data)]
    return wrong


def main():
    if sys.argv[1] == "--self-test":
        faults = self_test()
    else:
        with open(sys.argv[1], "rb") as f:
            faults = check(f.read())
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()

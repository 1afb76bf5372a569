# SPDX-License-Identifier: Apache-2.0
"""Child processes that die with the test run, whatever happens to it."""

import ctypes
import os
import signal

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For preexec_fn: the kernel kills the child when the thread that started it is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def kill_and_reap(process):
    """Ends a Popen that this test run started; it may be stopped or gone already."""
    if process.poll() is None:
        process.kill()
        os.kill(process.pid, signal.SIGCONT)
    process.wait()

"""No process that a test started outlives the tests, however they end.

What is started carries a mark in its environment, by which it is found even when its parent is gone. A process that waits
for the end of pytest then kills what is left; it is this file, run as a program. Without Linux's /proc nothing is done.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "DEPTH_ADAPTIVE_TEST_RUN"


def watch() -> None:
    """Mark what this process starts from now on, and have it killed when this process has ended."""
    os.environ.pop(MARK, None)
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    subprocess.Popen(
        [sys.executable, "-S", __file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,  # not reached by what ends the others
    )  # fmt: skip
    os.environ[MARK] = mark


def kill(mark: str = "") -> None:
    """Kill all that carry the *mark*, that of this process if none is given."""
    wanted = f"{MARK}={mark or os.environ[MARK]}".encode()
    for _ in range(100):
        found = [process for process in _other_processes() if wanted in _environment(process)]
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def _other_processes():
    return [int(each.name) for each in Path("/proc").glob("[0-9]*") if int(each.name) != os.getpid()]


def _environment(process: int) -> list:
    """With what it was started; empty once it has ended, though nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:  # has ended, or is somebody else's
        return []


if __name__ == "__main__":
    watched = int(sys.argv[1])
    while os.getppid() == watched:
        time.sleep(0.2)
    kill(sys.argv[2])

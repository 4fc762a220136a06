"""A test that hangs ends, and so does what it has started; tried on tests that hang, run as ``scripts/test.sh`` runs them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc to find processes in")

ROOT = Path(__file__).parents[1]
PROCESSES = """
import subprocess, sys
import pytest

CHILD = "import subprocess, sys; subprocess.run(['sleep', sys.argv[1]], start_new_session=True)"

def test_that_waits_for_a_process(server):
    subprocess.run([sys.executable, "-c", CHILD, "{seconds}"])

@pytest.mark.timeout(50)
def test_that_runs_afterwards(server, tmp_path):
    (tmp_path / "script.py").write_text("print('works')")
    assert server.run(tmp_path / "script.py", cwd=tmp_path).stdout == "works\\n"
"""
COMPILED = """
import ctypes, os, subprocess, pytest

def test_that_forks():
    with pytest.raises(AssertionError, match="do not fork"):
        os.fork()

def test_that_hangs_in_compiled_code():
    subprocess.Popen(["sleep", "{seconds}"])
    ctypes.PyDLL(None).sleep({seconds})  # without letting Python run
"""


def alive(*command: str) -> bool:
    wanted = "".join(f"{word}\0" for word in command).encode()
    return any(path.read_bytes() == wanted for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())


def run_tests(folder: Path, text: str, seconds: int, limit: str) -> str:
    """The output of a run of tests, with that *limit*, that fails."""
    (folder / "test_it.py").write_text(text.format(seconds=seconds))
    options = ("-c", ROOT / "pyproject.toml", "-p", "tests.conftest", "-p", "no:cacheprovider", "-n", "1", "--max-worker-restart", "0")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-o", limit, "--basetemp", folder / "temporary", folder / "test_it.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_what_a_hanging_test_waits_for_is_killed(tmp_path):
    seconds = 100_000 + os.getpid()
    said = run_tests(tmp_path, PROCESSES, seconds, "timeout=1")
    assert "1 failed, 1 passed" in said
    assert "Timeout (>1.0s) from pytest-timeout" in said
    assert not alive("sleep", str(seconds))


def test_compiled_code_that_hangs(tmp_path):
    seconds = 200_000 + os.getpid()
    said = run_tests(tmp_path, COMPILED, seconds, "faulthandler_timeout=1")
    assert "1 failed, 1 passed" in said
    assert "test_that_hangs_in_compiled_code" in said
    deadline = time.monotonic() + 10
    while alive("sleep", str(seconds)):  # until the death of pytest's process has been seen
        assert time.monotonic() < deadline
        time.sleep(0.05)

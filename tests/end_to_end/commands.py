"""How the tests run the fairseq commands, and read what they print."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

BIN = Path(sys.executable).parent
PLUGIN = ("--user-dir", "depth_adaptive_fairseq")
QUIET_ENVIRONMENT = {"PYTHONWARNINGS": "", "DEPTH_ADAPTIVE_TRACEBACK": ""}

# Variables that pytest and PyTorch set in their own process while the tests run.
SET_BY_LIBRARIES = {"PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR"}


@dataclass
class Finished:
    """A command that has ended: its exit status (negative: killed by that signal) and its output."""

    status: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Both outputs: fairseq's commands do not agree on where they log."""
        return f"{self.stdout}\n{self.stderr}"

    def lines(self, letter: str) -> Dict[int, List[str]]:
        """The lines such as ``H-3<tab>...`` of fairseq-generate and -interactive, by sentence, without their label."""
        found: Dict[int, List[str]] = {}
        for label, rest in re.findall(rf"^{letter}-(\d+)\t(.*)$", self.stdout, re.MULTILINE):
            found.setdefault(int(label), []).append(rest)
        return found

    def hypotheses(self) -> Dict[int, List[str]]:
        """The translations of each sentence, best first."""
        return {i: [line.partition("\t")[2] for line in lines] for i, lines in self.lines("H").items()}

    def scores(self) -> Dict[int, List[float]]:
        """The scores of each sentence's translations, best first, in base 2."""
        return {i: [float(line.partition("\t")[0]) for line in lines] for i, lines in self.lines("H").items()}

    def json_logs(self, kind: str) -> List[dict]:
        """What ``--log-format json`` logged: *kind* is train, train_inner or valid."""
        return [json.loads(text) for text in re.findall(rf"\| {kind} \| (\{{.*\}})$", self.output, re.MULTILINE)]


class CommandServer:
    """Starts console scripts of the virtual environment, or other scripts, without the seconds that their imports take.

    Args:
        scratch: a folder for the output of commands.
    """

    def __init__(self, scratch: Path):
        self._scratch = scratch
        self._count = 0
        self._last: Optional[Running] = None
        self._process: Optional[subprocess.Popen] = None
        self._environment = {**os.environ, **QUIET_ENVIRONMENT}

    def would_differ(self) -> bool:
        """Whether a process started now would have another environment than this server's commands."""
        now = {**os.environ, **QUIET_ENVIRONMENT}
        names = {*now, *self._environment} - SET_BY_LIBRARIES
        return any(self._environment.get(name) != now.get(name) for name in names)

    def _start_server(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, Path(__file__).with_name("command_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that what can be read is not hidden in a buffer
            env={**self._environment, "OPENBLAS_NUM_THREADS": "1"},  # or NumPy's import would start threads
        )

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.communicate()

    def run(self, *command, cwd: Path, stdin: str = "") -> Finished:
        """Run a command to its end."""
        return self.start(*command, cwd=cwd, stdin=stdin).wait()

    def start(self, *command, cwd: Path, stdin: str = "") -> "Running":
        """Start a command, or the script of that absolute path; only one can run at a time."""
        self._count += 1
        files = {name: self._scratch / f"{self._count}.{name}" for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin, encoding="utf-8")
        request = {
            "command": [str(BIN / command[0]), *map(str, command[1:])],
            "cwd": str(cwd),
            **{name: str(path) for name, path in files.items()},
        }
        if self._last is not None and not self._last.finished:  # a failed test did not wait for it
            self._last.kill()
            if self._process.poll() is None:
                self._last.wait()
        if self._process is None or self._process.poll() is not None:  # killed with a test that took too long
            self._process = self._start_server()
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._last = Running(self._process, files)
        return self._last


class Running:
    """A command that runs."""

    def __init__(self, server: subprocess.Popen, files: Dict[str, Path]):
        self._server = server
        self._files = files
        self._process_id = self._answer()["process"]
        self.finished = False

    def output(self) -> str:
        """What it has printed so far."""
        files = (path for name, path in self._files.items() if name != "stdin" and path.exists())
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)

    def has_ended(self) -> bool:
        """Whether its end can be read without waiting."""
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def kill(self) -> None:
        """Kill it and its workers, without any warning."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process_id, signal.SIGKILL)

    def wait(self) -> Finished:
        """Wait for its end."""
        answer = self._answer()
        self.finished = True
        return Finished(answer["status"], *(self._files[name].read_text(encoding="utf-8") for name in ("stdout", "stderr")))

    def _answer(self) -> dict:
        line = self._server.stdout.readline()
        assert line, "the command server has died"
        return json.loads(line)


def assert_ok(done: Finished) -> Finished:
    """Fail with what the command said, unless it succeeded."""
    assert done.status == 0, f"{done.stderr[-3000:]}"
    return done


def assert_refused(done: Finished, *parts: object) -> None:
    """The command ended with status 1 and one error sentence that holds all *parts*, without a traceback."""
    assert done.status == 1, f"status {done.status}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.output, done.stderr[-4000:]
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(errors) == 1, done.stderr[-4000:]
    for part in parts:
        assert str(part) in errors[0], errors[0]

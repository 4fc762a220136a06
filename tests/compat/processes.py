"""Runs commands and scripts in processes of their own, with the mends or without some."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

BIN = Path(sys.executable).parent
server = None  # what runs fairseq's commands without the seconds of their imports (see tests/conftest.py)

TINY = ["--arch", "transformer", "--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16", "--decoder-ffn-embed-dim", "16", "--encoder-attention-heads", "2", "--decoder-attention-heads", "2", "--optimizer", "adam", "--lr", "0.005", "--max-tokens", "500", "--max-epoch", "1", "--num-workers", "1"]

# Runs a script with one of the mends left out, to see the defect that it is there for.
LEAVING_OUT = """
import sys
import depth_adaptive_fairseq_startup as startup
compat = startup._load_compat()
compat.MENDS = tuple(name for name in compat.MENDS if name not in {names!r})
"""


def run(*command, cwd=None, fresh=False, **environment):
    """Run a command of the virtual environment, or a Python file; returns the finished process, output as text.

    Args:
        command: its name or the file's absolute path, and its arguments.
        fresh: in a process that imports everything itself, though it is a command of fairseq's or the package's, or a Python file.
    """
    program, *arguments = map(str, command)
    is_file = program.endswith(".py")
    if (is_file or program.startswith("fairseq-") or program == "depth-adaptive") and not (fresh or environment or server is None or server.would_differ()):
        done = server.run(*command, cwd=cwd or Path.cwd())
        return subprocess.CompletedProcess(command, done.status, done.stdout, done.stderr)
    variables = dict(os.environ)
    for name in ("DEPTH_ADAPTIVE_TRACEBACK", "PYTHONWARNINGS"):
        variables.pop(name, None)
    variables.update(environment)
    return subprocess.run(
        [*([sys.executable, program] if is_file else [BIN / program]), *arguments],
        cwd=cwd, env=variables, text=True, capture_output=True, timeout=600, check=False,
    )


def run_script(text, *arguments, without=(), cwd=None, **environment):
    """Run Python code in a new process, if wanted with some mends left out."""
    prefix = LEAVING_OUT.format(names=tuple(without)) if without else ""
    return run("python", "-c", prefix + textwrap.dedent(text), *arguments, cwd=cwd, **environment)


def assert_one_sentence(process, *parts):
    """The command failed, and the last thing it says is one error line with these parts."""
    assert process.returncode == 1, process.stderr[-2000:]
    assert "Traceback" not in process.stderr, process.stderr[-2000:]
    last = process.stderr.rstrip().splitlines()[-1]
    assert ": error: " in last
    for part in parts:
        assert str(part) in last

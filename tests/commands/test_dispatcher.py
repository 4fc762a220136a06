"""The table of verbs: listing, refusals, laziness, and errors as one sentence."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from depth_adaptive_fairseq import commands
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.compat import processes


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_verbs_are_listed_one_a_line(arguments, capsys):
    assert commands.main(arguments) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert {line[0]: line[1] for line in lines} == commands.VERBS


def test_an_unknown_verb_is_refused_with_the_verbs(capsys):
    assert commands.main(["classify-nothing", "--help"]) == 1
    said = capsys.readouterr().err
    assert "'classify-nothing' was given; the verbs are prepare, evaluate, tune," in said and said.count("\n") == 1


@pytest.mark.parametrize("verb", commands.VERBS)
def test_every_verb_has_its_help(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        commands.main([verb, "--help"])
    assert not ended.value.code
    assert capsys.readouterr().out.startswith(f"usage: python -m depth_adaptive_fairseq {verb} ")


@pytest.mark.parametrize("call, name", [(["-m", "depth_adaptive_fairseq"], "python -m depth_adaptive_fairseq"), (None, "depth-adaptive")])
def test_both_ways_to_call_it(call, name, tmp_path):
    program = [processes.BIN / "depth-adaptive"] if call is None else [sys.executable, *call]
    done = subprocess.run([*program, "plot", "none.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(f"{name} plot: error: ") and done.stderr.count("\n") == 1


# Runs a verb and prints what it has imported, though it ends with --help.
IMPORTED = """
import sys
sys.argv = ["depth-adaptive", *sys.argv[1:]]
from depth_adaptive_fairseq.commands import main
try:
    main()
except SystemExit:
    pass
print("imported", *sorted({"torch", "fairseq", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "verb, expected",
    [("", ""), ("prepare", ""), ("view", "matplotlib"), ("plot", "matplotlib"), ("table", ""), ("grid", ""), ("options", "fairseq torch")],
)
def test_a_verb_imports_what_it_needs(verb, expected):
    done = subprocess.run([sys.executable, "-c", IMPORTED, *([verb] if verb else []), "--help"], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].split() == ["imported", *expected.split()], done.stderr


def raising(error):
    def main(arguments):
        raise error

    return SimpleNamespace(main=main)


@pytest.mark.parametrize(
    "error, said",
    [
        (DepthAdaptiveError("it is wrong"), "it is wrong"),
        (ValueError("it is wrong"), "it is wrong"),
        (FileNotFoundError(2, "No such file or directory", "none.csv"), "none.csv: No such file or directory"),
        (OSError("cannot write x"), "cannot write x"),
        (ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib"), "matplotlib is not installed: "),
    ],
)
def test_errors_are_sentences(error, said, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "depth_adaptive_fairseq.commands.plot", raising(error))
    assert commands.main(["plot"]) == 1
    found = capsys.readouterr().err
    assert f"plot: error: {said}" in found and found.count("\n") == 1


@pytest.mark.parametrize("error", [TypeError("a bug"), ModuleNotFoundError("moved", name="depth_adaptive_fairseq.moved")])
def test_errors_of_our_own_are_not_hidden(error, monkeypatch):
    monkeypatch.setitem(sys.modules, "depth_adaptive_fairseq.commands.plot", raising(error))
    with pytest.raises(type(error)):
        commands.main(["plot"])


def test_a_traceback_can_be_had(monkeypatch):
    monkeypatch.setenv("DEPTH_ADAPTIVE_TRACEBACK", "1")
    monkeypatch.setitem(sys.modules, "depth_adaptive_fairseq.commands.plot", raising(ValueError("wrong")))
    with pytest.raises(ValueError, match="wrong"):
        commands.main(["plot"])


def test_a_reader_that_has_gone_is_no_error():
    program = f"{processes.BIN / 'depth-adaptive'} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode in (0, 1)

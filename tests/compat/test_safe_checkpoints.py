"""Checkpoints hold data; whatever else a file holds is refused before any of it could run."""

import argparse
import re
from pathlib import Path

import numpy
import pytest
import torch
from fairseq import checkpoint_utils, utils
from fairseq.models.transformer import TransformerModel

import depth_adaptive_fairseq
from depth_adaptive_fairseq.compat.safe_configuration import evaluate
from tests.compat.hostile import Hostile
from tests.compat.processes import assert_one_sentence, run


@pytest.fixture(params=["zip", "old"])
def hostile_file(request, checkpoint, marker, tmp_path):
    """A working checkpoint with one hostile object in it, in both file formats of PyTorch."""
    state = checkpoint_utils.torch.load(str(checkpoint))
    state["extra_state"]["note"] = Hostile(marker)
    path = tmp_path / "hostile.pt"
    torch.save(state, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


def test_the_hostile_object_would_run(marker, tmp_path):
    """The danger is real: Python's own unpickling runs it."""
    import pickle

    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()
    marker.rmdir()


def test_hostile_checkpoint_is_refused(hostile_file):
    with pytest.raises(ValueError, match=r"hostile\.pt: it holds \w+\.mkdir, but only tensors"):
        checkpoint_utils.load_checkpoint_to_cpu(str(hostile_file))
    with pytest.raises(ValueError, match="refused"):
        checkpoint_utils.load_ema_from_checkpoint(str(hostile_file))


def test_hostile_checkpoint_is_refused_whatever_the_environment_says(hostile_file, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(ValueError, match="refused"):
        checkpoint_utils.load_checkpoint_to_cpu(str(hostile_file))


def test_hostile_checkpoint_is_refused_by_the_hub_interface(hostile_file, data):
    with pytest.raises(ValueError, match="refused"):
        TransformerModel.from_pretrained(
            str(hostile_file.parent), hostile_file.name, data_name_or_path=str(data)
        )


@pytest.mark.parametrize("hostile_file", ["zip"], indirect=True)
def test_hostile_checkpoint_is_refused_by_the_commands(hostile_file, data, tmp_path):
    generated = run("fairseq-generate", data, "--path", hostile_file)
    assert_one_sentence(generated, "fairseq-generate", "refused", hostile_file, "mkdir")
    # The sizes do not matter: the file is refused before they could.
    trained = run(
        "fairseq-train", data, "--task", "translation", "--arch", "transformer_iwslt_de_en",
        "--optimizer", "adam", "--max-tokens", "500", "--restore-file", hostile_file,
        "--save-dir", tmp_path / "new",
    )
    assert_one_sentence(trained, "fairseq-train", "refused", hostile_file)
    assert not list((tmp_path / "new").glob("*"))


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", "truncated", "list", "foreign", "model only"]
)
def test_files_that_are_no_checkpoints(content, checkpoint, tmp_path):
    path = tmp_path / "file.pt"
    if content == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:-2000])
    elif content == "list":
        torch.save([1, 2], path)
    elif content == "foreign":
        torch.save({"weights": torch.zeros(1)}, path)
    elif content == "model only":
        torch.save({"model": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="file.pt: the file is truncated, damaged or not") as info:
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert info.value.is_user_error


def test_what_checkpoints_of_fairseq_hold_is_allowed(checkpoint, tmp_path):
    state = checkpoint_utils.torch.load(str(checkpoint))
    state["args"] = argparse.Namespace(arch="transformer", list=[1, (2,)], none=None)
    state["extra_state"].update(
        best=numpy.float64(1.5), counts=numpy.array([1, 2]), length=numpy.int64(3),
        flag=numpy.bool_(True), single=numpy.float32(0.5),
    )
    torch.save(state, tmp_path / "numbers.pt")
    loaded = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "numbers.pt"))
    assert loaded["args"].list == [1, (2,)]
    assert loaded["extra_state"]["best"] == 1.5
    assert loaded["extra_state"]["counts"].tolist() == [1, 2]


def test_an_array_of_objects_is_refused(checkpoint, marker, tmp_path):
    state = checkpoint_utils.torch.load(str(checkpoint))
    state["extra_state"]["array"] = numpy.array([Hostile(marker)], dtype=object)
    torch.save(state, tmp_path / "array.pt")
    with pytest.raises(ValueError, match="refused"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "array.pt"))


def test_options_of_a_checkpoint_are_not_run_as_code(checkpoint, marker, data, tmp_path):
    """A file of plain strings passes the safe loader; fairseq used to evaluate some of them."""
    code = f"__import__('os').mkdir({str(marker)!r})"
    state = checkpoint_utils.torch.load(str(checkpoint))
    state["cfg"]["model"].adaptive_softmax_cutoff = code
    path = tmp_path / "strings.pt"
    torch.save(state, path)
    with pytest.raises(ValueError, match="nothing else is evaluated"):
        checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data)})
    with pytest.raises(ValueError, match="nothing else is evaluated"):
        utils.eval_str_list(code)


@pytest.mark.parametrize(
    "text, value",
    [
        ("(0.9, 0.98)", (0.9, 0.98)),
        ("[(512, 3)] * 2 + [(1024, 3)]", [(512, 3), (512, 3), (1024, 3)]),
        ("{'a': 1}", {"a": 1}),
        (" 3 ", 3),
        ("-1e-3", -1e-3),
        ("True", True),
    ],
)
def test_option_values_of_fairseq_are_evaluated(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize("text", ["open('x')", "a", "[x for x in (1,)]", "1 +", "(1).real", ""])
def test_anything_else_is_not(text):
    with pytest.raises(ValueError, match="nothing else is evaluated") as info:
        evaluate(text)
    assert info.value.is_user_error


def test_the_project_never_asks_for_the_unsafe_loader():
    root = Path(depth_adaptive_fairseq.__file__).parent
    unsafe = re.compile(r"weights_only\s*=\s*False|pickle\.loads?\(")
    assert [path for path in root.rglob("*.py") if unsafe.search(path.read_text())] == []

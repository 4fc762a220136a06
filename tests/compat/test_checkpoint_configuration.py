"""A checkpoint's strings are taken as they are, and what it must hold is asked for in a sentence."""

import argparse
import ast

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from depth_adaptive_fairseq.compat.checkpoint_configuration import without_references
from depth_adaptive_fairseq.compat.safe_configuration import evaluate
from tests.compat.altered import altered, options_of_model

SECRET = "the-value-of-the-variable"


@pytest.fixture(autouse=True)
def secret(monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)


TEXTS = ["${env:SECRET}", "a ${env:SECRET} b", "${common}", "${loop.a}", "${no.such.thing}", "${now:%Y}", "${hydra:x}", "$", "${", "${}"]


def test_strings_are_taken_as_they_are(tmp_path):
    given = {str(number): text for number, text in enumerate(TEXTS)}
    state = {
        "args": None, "model": {}, "optimizer_history": [{"best_loss": 1.0}], "extra_state": {},
        "cfg": {
            "common": {"x": [1, "${env:SECRET}", {"y": "${env:SECRET}"}]}, "loop": {"a": "${loop.b}", "b": "${loop.a}"},
            "texts": given, "task": argparse.Namespace(text="${env:SECRET}"),
        },
    }
    torch.save(state, tmp_path / "texts.pt")
    cfg = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "texts.pt"))["cfg"]
    assert {name: cfg.texts[name] for name in given} == given
    assert cfg.common.x[1] == "${env:SECRET}" and cfg.common.x[2].y == "${env:SECRET}"
    assert cfg.loop.a == "${loop.b}" and cfg.task.text == "${env:SECRET}"
    # Copies, mergers and what is saved again from it stay what they are.
    assert OmegaConf.merge({"more": "x"}, cfg.texts)["1"] == TEXTS[1]
    assert OmegaConf.to_container(cfg, resolve=True)["texts"] == given
    assert SECRET not in str(OmegaConf.to_container(cfg, resolve=True)) + str(cfg)


def test_the_strings_of_the_old_kind_of_configuration(checkpoint, data, tmp_path):
    def change(state):
        options = {**options_of_model(state), "text": "${env:SECRET}", "bos": "it's ${env:SECRET} \\", "post_process": "${env:SECRET}"}
        options.update(arch="transformer", task="translation", data=str(data))
        state.update(args=argparse.Namespace(**options), cfg=None)

    path = altered(checkpoint, tmp_path / "old.pt", change)
    models, cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert cfg.model.text == "${env:SECRET}"
    assert cfg.common_eval is not None and cfg.common.seed == 1
    assert SECRET not in str(OmegaConf.to_container(cfg, resolve=True))


def test_names_of_other_values_are_replaced_once():
    configuration = {
        "task": {"data": "folder", "sizes": [1, 2.5], "circle": "${task.circle}", "texts": ["${env:A}"]},
        "model": {"data": "${task.data}", "again": "${model.data}", "sizes": "${task.sizes}", "all": "${task}", "texts": "${task.texts}"},
        "deep": ["${task.data}", {"x": "${task.none}"}],
    }
    plain = without_references(configuration)
    assert plain["model"] == {"data": "folder", "again": "folder", "sizes": [1, 2.5], "all": "${task}", "texts": "${task.texts}"}
    assert plain["deep"] == ["folder", {"x": "${task.none}"}] and plain["task"]["circle"] == "${task.circle}"


def test_no_variable_of_the_environment_in_an_error(checkpoint, data, tmp_path):
    def change(state):
        options_of_model(state).update(arch="${env:SECRET}", _name="${env:SECRET}")

    path = altered(checkpoint, tmp_path / "named.pt", change)
    with pytest.raises(Exception, match=r"unknown model architecture '\$\{env:SECRET\}'") as info:
        checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data)})
    assert info.value.is_user_error and SECRET not in str(info.value)


@pytest.mark.parametrize("text", ["${loop.a}", "${model.activation_fn}", "${env:SECRET}"])
def test_circles_end_in_a_sentence(checkpoint, data, tmp_path, text):
    def change(state):
        state["cfg"]["loop"] = {"a": "${loop.b}", "b": "${loop.a}"}
        options_of_model(state)["activation_fn"] = text

    path = altered(checkpoint, tmp_path / "circle.pt", change)
    with pytest.raises(RuntimeError, match="circle.pt.*activation") as info:
        checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data)})
    assert info.value.is_user_error and SECRET not in str(info.value) and "\n" not in str(info.value)


def laughs(depth=40):
    """A list that says itself 2**40 times, and is small in a file."""
    values = ["ha"]
    for _ in range(depth):
        values = [values, values]
    return values


def drop(name):
    return lambda state: state.pop(name)


def put(name, value):
    return lambda state: state.update({name: value})


@pytest.mark.parametrize(
    "change, reason",
    [
        (drop("extra_state"), "it has no extra_state"),
        (put("extra_state", [1]), "extra_state is no dictionary"),
        (put("optimizer_history", []), "optimizer_history"),
        (put("optimizer_history", [1]), "optimizer_history"),
        (put("optimizer_history", {}), "optimizer_history"),
        (put("optimizer_history", [{"num_updates": "x"}]), "number of updates"),
        (lambda state: state.pop("optimizer_history") and state.update(best_loss=1), "neither optimizer_history nor optimizer"),
        (put("model", [1]), "no dictionary of weights"),
        (put("model", {1: 2}), "no dictionary of weights"),
        (put("model", {"w": torch.zeros(1).expand(10**6, 10**6)}), "larger than what is stored"),
        (put("cfg", "text"), "cfg is no dictionary"),
        (put("args", {}), "args are no namespace"),
        (put("task_state", 3), "task_state is no dictionary"),
        (put("cfg", {(1, 2): 3}), "does not fit"),
        (put("cfg", {"common": laughs()}), "holds more than 100000 values"),
        (put("args", argparse.Namespace(x=laughs())), "holds more than 100000 values"),
        (lambda state: state.update(args=argparse.Namespace(arch="none", task="none", seed="x y"), cfg=None), "does not fit"),
    ],
)
def test_what_a_checkpoint_must_hold(checkpoint, tmp_path, change, reason):
    path = altered(checkpoint, tmp_path / "changed.pt", change)
    with pytest.raises(ValueError, match=f"cannot use checkpoint .*changed.pt: .*{reason}") as info:
        checkpoint_utils.load_checkpoint_to_cpu(str(path))
    assert info.value.is_user_error and "\n" not in str(info.value)


def test_a_checkpoint_without_a_configuration(checkpoint, data, tmp_path):
    path = altered(checkpoint, tmp_path / "bare.pt", put("cfg", None))
    with pytest.raises(RuntimeError, match="bare.pt") as info:
        checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data)})
    assert info.value.is_user_error


def test_checkpoints_truncated_anywhere(checkpoint, tmp_path):
    content, path = checkpoint.read_bytes(), tmp_path / "cut.pt"
    sizes = {*range(0, 69_001, 3001), 4097, 4500, 68_999, len(content) - 1, len(content) // 2}
    for size in sorted(size for size in sizes if size < len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cut.pt: the file is truncated, damaged or not") as info:
            checkpoint_utils.load_checkpoint_to_cpu(str(path))
        assert info.value.is_user_error


@pytest.mark.parametrize("text", ["[(1, 2)] * 1000000000", "1000000000 * [0]", "'a' * 10**12", "(" * 1000 + ")" * 1000])
def test_options_that_would_fill_memory(text):
    with pytest.raises(ValueError, match="nothing else is evaluated"):
        evaluate(text)
    assert evaluate("[0] * 20") == [0] * 20 and evaluate("2 * 30000") == ast.literal_eval("60000")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["extra_state"].pop("train_iterator").pop("epoch") and state["extra_state"].update(train_iterator={}),
        lambda state: state["optimizer_history"][-1].update(lr_scheduler_state=3),
        lambda state: state["last_optimizer_state"].pop("param_groups"),
        put("last_optimizer_state", [1]),
    ],
)
def test_a_damaged_state_of_the_training(checkpoint, data, tmp_path, change):
    path = altered(checkpoint, tmp_path / "damaged.pt", change)
    _, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], {"data": str(data)})
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    with pytest.raises(ValueError, match="(cannot go on from )?checkpoint .*damaged.pt.*(--finetune-from-model|--reset-lr-scheduler)") as info:
        trainer.load_checkpoint(str(path))
    assert info.value.is_user_error and "\n" not in str(info.value)
    trainer.load_checkpoint(str(checkpoint))

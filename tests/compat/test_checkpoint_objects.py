"""Objects that hold data only, as published checkpoints have them: what they hold is read, what is wrong in them refused."""

import argparse

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from omegaconf import DictConfig, OmegaConf

from depth_adaptive_fairseq.compat import checkpoint_objects
from tests.compat.hostile import Hostile


@pytest.fixture
def load(tmp_path):
    """Write a checkpoint with some entries, and load it with fairseq."""

    def load(old=False, **entries):
        state = {"args": None, "model": {"w": torch.ones(2)}, "optimizer_history": [{"num_updates": 3}], "extra_state": {}}
        state.update(entries)
        torch.save(
            state, tmp_path / "published.pt", _use_new_zipfile_serialization=not old
        )
        return checkpoint_utils.torch.load(str(tmp_path / "published.pt"))

    return load


def dictionary():
    words = Dictionary(extra_special_symbols=["<mask>"])
    for word in ("a", "b", "a"):
        words.add_symbol(word)
    words.add_symbol("b", overwrite=True)
    return words


@pytest.mark.parametrize("old", [False, True])
def test_a_dictionary_in_the_tasks_state(load, old):
    written = dictionary()
    state = load(task_state={"dictionaries": [written], "target_dictionary": written}, old=old)
    read = state["task_state"]["dictionaries"][0]
    assert type(read) is Dictionary and vars(read) == vars(written)
    assert state["task_state"]["target_dictionary"] is read
    assert read.string(torch.tensor([5, 6])) == written.string(torch.tensor([5, 6]))


def test_a_dictionary_of_older_versions_has_no_word_for_the_beginning(load):
    written = dictionary()
    del written.bos_word
    assert load(task_state={"d": written})["task_state"]["d"].bos_word == "<s>"


@pytest.mark.parametrize(
    "entry",
    [
        {"symbols": "text"}, {"symbols": [1]}, {"count": [1]}, {"indices": {}}, {"indices": None}, {"nspecial": "5"}, {"nspecial": 99},
        {"unk_index": -1}, {"bos_word": 3}, {"index": "a method"}, {"__class__": "x"}, {"symbols": None},
    ],
)
def test_a_dictionary_that_is_none(load, entry):
    written = dictionary()
    vars(written).update(entry)
    with pytest.raises(ValueError, match="refused to load checkpoint .*published.pt: it holds a dictionary ") as info:
        load(task_state={"d": [written]})
    assert info.value.is_user_error


@pytest.mark.parametrize("place", ["count", "symbols", "note"])
def test_a_dictionary_with_a_hostile_object_in_it(load, marker, place):
    written = dictionary()
    setattr(written, place, Hostile(marker))
    with pytest.raises(ValueError, match="refused to load .*mkdir"):
        load(task_state={"d": written})


CONFIGURATION = {
    "common": {"seed": 1, "lr": [0.5, 1e-3], "none": None, "missing": "???", "flag": True, "text": "x"},
    "model": {"_name": "hubert", "seed": "${common.seed}", "secret": "${env:SECRET}", "nested": [{"a": [1]}]},
}


def test_omegaconfs_containers(load, monkeypatch):
    monkeypatch.setenv("SECRET", "a secret")
    written = OmegaConf.create(CONFIGURATION)
    assert written.model.secret == "a secret"
    written.common.arguments = None
    OmegaConf.set_struct(written, True)
    state = load(cfg=written, extra_state={"list": OmegaConf.create([1, 2])})
    assert state["cfg"] == {**CONFIGURATION, "common": {**CONFIGURATION["common"], "arguments": None}}
    assert state["extra_state"]["list"] == [1, 2]
    assert type(state["cfg"]["model"]["nested"]) is list


def test_a_namespace_within_a_container(load):
    written = OmegaConf.create({"task": None})
    written._get_node("task")._val = argparse.Namespace(data="x", tags=[OmegaConf.create({"a": 1})])
    assert load(cfg=written)["cfg"]["task"] == argparse.Namespace(data="x", tags=[{"a": 1}])


@pytest.mark.parametrize("place", ["_content", "_metadata", "_parent", "_val"])
def test_a_container_with_a_hostile_object_in_it(load, marker, place):
    written = OmegaConf.create({"a": {"b": 1}})
    holder = written.a._get_node("b") if place == "_val" else written.a
    holder.__dict__[place] = Hostile(marker)
    with pytest.raises(ValueError, match="refused to load .*mkdir"):
        load(cfg=written)


def test_a_container_whose_state_is_none(load):
    for content in (3, (1,), torch.ones(1)):
        written = OmegaConf.create({"a": 1})
        written.__dict__["_content"] = content
        with pytest.raises(ValueError, match="DictConfig whose content is a"):
            load(cfg=written)
    written = OmegaConf.create({"a": 1})
    written.__dict__["_content"]["a"] = written
    assert load(cfg=written)["cfg"] == {"a": None}  # a container within itself: not followed


def test_nothing_else_of_omegaconf_is_allowed(load):
    for function in (OmegaConf.create, OmegaConf.load, DictConfig.__init__):
        class Call:
            def __reduce__(self, function=function):
                return function, ({},)

        with pytest.raises(ValueError, match="refused to load|cannot read"):
            load(cfg=Call())


def test_containers_without_end():
    endless = {}
    endless["itself"] = [endless, (endless,)]
    assert checkpoint_objects.restore(endless)["itself"][0] is endless
    deep = ()
    for _ in range(5000):
        deep = (deep,)
    with pytest.raises(checkpoint_objects.Unfit, match="without end"):
        checkpoint_objects.restore(deep)


def test_others_who_load_see_omegaconf_itself(tmp_path):
    torch.save(OmegaConf.create({"a": 1}), tmp_path / "other.pt")
    with pytest.raises(Exception, match="omegaconf"):
        torch.load(tmp_path / "other.pt")
    assert type(torch.load(tmp_path / "other.pt", weights_only=False)) is DictConfig

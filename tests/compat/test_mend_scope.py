"""The mends change nothing where the defect is absent, and miss nothing where it is present."""

import ast
import dataclasses
import sys
import warnings
from pathlib import Path

import fairseq
import numpy
import pytest
import torch

from depth_adaptive_fairseq.compat import (
    hydra_base_layers,
    hydra_plugins,
    numpy_names,
    quiet,
    safe_configuration,
    typing_io,
    user_dir,
)
from depth_adaptive_fairseq.compat.overlay import Overlay

FAIRSEQ = Path(fairseq.__file__).parent


def sources_of_fairseq():
    for path in sorted(FAIRSEQ.rglob("*.py")):
        if "examples" not in path.parts:
            dots = ".".join(("fairseq", *path.relative_to(FAIRSEQ).with_suffix("").parts))
            yield dots.removesuffix(".__init__"), ast.parse(path.read_text())


def test_dataclasses_of_others_are_left_alone():
    @dataclasses.dataclass
    class Plain:
        value: int = 0

    assert Plain.__hash__ is None
    assert dataclasses.dataclass.__module__ == "dataclasses"
    assert not hasattr(dataclasses.dataclass, "__wrapped__")


def test_every_call_of_eval_in_fairseq_is_mended():
    calling = {
        name
        for name, tree in sources_of_fairseq()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec")
    }
    assert calling == set(safe_configuration.MODULES)


def test_every_removed_name_of_numpy_in_fairseq_is_mended():
    """Looked up in the NumPy that is installed, so that a later one shows what is new."""
    missing = {
        name
        for name, tree in sources_of_fairseq()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "np"
        and node.attr not in vars(numpy) and not _has(numpy, node.attr)
    }
    assert missing <= set(numpy_names.MODULES)


def _has(module, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hasattr(module, name)


def test_numpy_itself_stays_without_the_old_names():
    import fairseq.data.token_block_dataset as mended

    assert mended.np.compat.long is int
    assert mended.np.int64 is numpy.int64
    assert not hasattr(numpy, "compat")


def test_numpy_that_has_the_names_is_left_alone():
    import types

    module = types.SimpleNamespace(np=types.SimpleNamespace(int=0, float=0, compat=0))
    before = module.np
    numpy_names.after(module)
    assert module.np is before


def test_overlay_changes_one_name_for_one_reader():
    overlay = Overlay(torch, load="other")
    assert overlay.load == "other" and torch.load != "other"
    assert overlay.Tensor is torch.Tensor
    with pytest.raises(AttributeError):
        overlay.no_such_name


def test_typing_io_is_provided_for_the_time_of_the_import_only(monkeypatch):
    monkeypatch.delitem(sys.modules, "typing.io", raising=False)
    monkeypatch.setattr(typing_io, "needed", lambda: True)
    with typing_io.during("antlr4"):
        from typing import TextIO
    assert TextIO.__name__ == "TextIO"
    assert "typing.io" not in sys.modules


def test_typing_io_is_left_alone_where_python_has_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "typing.io", raising=False)
    monkeypatch.setattr(typing_io, "needed", lambda: False)
    with typing_io.during("antlr4"):
        assert "typing.io" not in sys.modules


def test_hydra_finds_its_plugins_through_todays_import_system():
    import hydra._internal.core_plugins as plugins

    found = list(hydra_plugins.walk_packages(plugins.__path__, f"{plugins.__name__}."))
    assert found
    for importer, name, _ in found:
        assert importer.find_module(name).load_module(name) is sys.modules[name]


def test_only_base_layers_may_be_none():
    class Model:
        base_layers = None
        other = None

    assert hydra_base_layers.get_attribute(Model, "base_layers", 0) == 0
    assert hydra_base_layers.get_attribute(Model, "other", 0) is None
    with pytest.raises(AttributeError):
        hydra_base_layers.get_attribute(Model, "missing")


def test_unknown_warnings_stay_on_the_screen():
    """The filters name a message and a place: the same words from elsewhere are shown."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        with quiet.during("fairseq"):
            pass
        here = {"filename": "x.py", "lineno": 1}
        known = "'pin_memory' argument is set as true but no accelerator is found"
        warnings.warn_explicit(known, UserWarning, module="torch.utils.data.dataloader", **here)
        assert not shown
        warnings.warn_explicit(known, UserWarning, module="a.program", **here)
        warnings.warn_explicit("new", UserWarning, module="torch.utils.data.dataloader", **here)
        assert len(shown) == 2


def test_a_folder_without_code_does_not_hide_an_installed_package(tmp_path, monkeypatch):
    """Such as a clone of the repository, seen from the folder above it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json").mkdir()
    import json

    assert user_dir.locate("json") == json.__path__[0]
    (tmp_path / "unheard_of_name").mkdir()
    assert user_dir.locate("unheard_of_name") == "unheard_of_name"
    assert user_dir.locate("neither_folder_nor_package") is None

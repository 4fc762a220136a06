"""What stands between Python and the library: structures, errors, and which copy is called."""

import ctypes

import pytest
import torch

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.native import kernels, loading, structures


def forget():
    for function in (loading.find, loading.chosen):
        function.cache_clear()


@pytest.fixture
def fresh(monkeypatch):
    """Nothing that was found before counts, during the test or behind it."""

    forget()
    monkeypatch.delenv(loading.VARIABLE, raising=False)
    yield monkeypatch
    monkeypatch.undo()
    forget()


@pytest.fixture
def name(library):
    return next(each for each in kernels.INSTRUCTION_SETS if kernels.load(each) is library)


def drifted(structure, fields):
    return type(structure.__name__, (ctypes.Structure,), {"_fields_": fields})


def variations(structure):
    """The structure with a field less, two of equal size exchanged, one renamed, one of another size, and one more."""
    fields = list(structure._fields_)
    yield fields[:-1]
    yield [("renamed", fields[0][1]), *fields[1:]]
    yield [*fields, ("another", ctypes.c_int64)]
    yield [(fields[0][0], ctypes.c_int64 if ctypes.sizeof(fields[0][1]) == 4 else ctypes.c_int32), *fields[1:]]
    for i in range(len(fields) - 1):
        if ctypes.sizeof(fields[i][1]) == ctypes.sizeof(fields[i + 1][1]):
            yield [*fields[:i], fields[i + 1], fields[i], *fields[i + 2 :]]
            break


@pytest.mark.parametrize("structure", structures.STRUCTURES, ids=lambda structure: structure.__name__)
def test_a_structure_that_has_drifted_is_found(library, structure):
    layouts = library.layouts().decode()
    assert structures.disagreement(layouts) is None
    others = [each for each in structures.STRUCTURES if each is not structure]
    assert structure.__name__ in structures.disagreement(layouts, others)
    wrong = list(variations(structure))
    assert len(wrong) == 5
    for fields in wrong:
        found = structures.disagreement(layouts, [*others, drifted(structure, fields)])
        assert found is not None and found.startswith(structure.__name__)


def test_a_copy_with_other_structures_is_not_called(fresh, library, name):
    shorter = drifted(kernels.ExitRule, kernels.ExitRule._fields_[:-1])
    fresh.setattr(structures, "STRUCTURES", [each for each in structures.STRUCTURES if each is not kernels.ExitRule] + [shorter])
    forget()
    with pytest.raises(OSError, match=f"the kernels for {name} have structures .* ExitRule is here .*install the package again"):
        kernels.load(name)
    assert loading.available() == [] and loading.chosen().library is None
    assert "ExitRule is here" in kernels.reason()


def test_an_outdated_copy_is_not_called(fresh, library, name):
    fresh.setattr(loading, "_sources", lambda: 0)
    forget()
    with pytest.raises(OSError, match="compiled from other sources than these; install the package again"):
        kernels.load(name)
    assert "other sources" in kernels.reason()


def test_nothing_was_compiled(fresh, tmp_path):
    fresh.setattr(loading, "__file__", str(tmp_path / "loading.py"))
    assert kernels.library() is None
    assert kernels.reason() == "no kernels were compiled for baseline; install the package again where there is a C++ compiler"


def test_a_reason_only_where_there_are_none(fresh):
    assert (kernels.library() is None) == (kernels.reason() is not None)


@pytest.mark.parametrize("asked", kernels.INSTRUCTION_SETS)
def test_an_instruction_set_can_be_forced(fresh, asked):
    if asked not in kernels.available():
        pytest.skip(f"not compiled for {asked}, or not a processor that has it")
    fresh.setenv(loading.VARIABLE, asked)
    assert f"_kernels_{asked}." in kernels.library()._name and kernels.reason() is None


def test_the_kernels_can_be_switched_off(fresh):
    fresh.setenv(loading.VARIABLE, "none")
    assert kernels.library() is None and kernels.reason() == "DEPTH_ADAPTIVE_KERNELS is none"
    kernels.set_threads(2)


@pytest.mark.parametrize("asked", ["sse", "amx"])
def test_an_instruction_set_that_is_not_there(fresh, asked):
    fresh.setattr(loading, "available", lambda: ["baseline", "avx2"])
    fresh.setenv(loading.VARIABLE, asked)
    with pytest.raises(DepthAdaptiveError, match=f"DEPTH_ADAPTIVE_KERNELS={asked} was given, .* baseline, avx2, none; give one"):
        kernels.library()


def test_without_memory(library):
    """More than there is: an error that Python can catch."""
    layer = kernels.Linear(torch.zeros(5, 8), None, True, library)
    for rows in (2**44, 2**60):
        with pytest.raises(MemoryError, match="smaller batches"):
            library.linear_apply(kernels.workspace(library).handle, layer.handle, None, rows, None)
    assert layer(torch.zeros(1, 8)).shape == (1, 5)


def test_other_errors_say_what_they_are(library):
    layers, state, hidden = kernels.BlockLayers(activation=7, width=4, heads=1), kernels.BlockState(), torch.zeros(0, 4)
    one = kernels.Linear(torch.ones(4, 4), None, False, library)
    for field in ("query", "keys_values", "self_out", "inner", "outer"):
        setattr(layers, field, one.handle)
    state.hypotheses = ctypes.pointer(kernels.Hypotheses())
    with pytest.raises(RuntimeError, match="^the decoding kernels failed: they have no activation number 7$"):
        kernels.run_decoder_block(library, layers, state, hidden)

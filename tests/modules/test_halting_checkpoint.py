"""Going on from a checkpoint with a halting classifier to a model with another one, or with none."""

import logging

import pytest
import torch

from depth_adaptive_fairseq.modules.halting_checkpoint import fit_halting
from tests.small_models import small_dictionary, small_model

DICTIONARY = small_dictionary(8)
KINDS = {
    "none": {},
    "sequence": {"halting": "sequence"},
    "multinomial": {"halting": "multinomial"},
    "geometric": {"halting": "geometric"},
    "geometric per block": {"halting": "geometric", "halting_per_block": True},
}
LOGGER = fit_halting.__module__
MARK = "decoder.halting.kind_number"


def halting_of(model) -> dict:
    """The entries of its halting classifier, as they are now."""
    prefix = "decoder.halting."
    return {name: value.clone() for name, value in model.state_dict().items() if name.startswith(prefix)}


def rest_of(model) -> dict:
    return {name: value for name, value in model.decoder.named_parameters() if "halting" not in name}


def go_on(first: dict, second: dict, caplog, marked: bool = True, **sizes):
    """Load a model of other options.

    Returns:
        the old classifier, the new one as initialised and as loaded, and what was logged.
    """
    old, new = small_model(DICTIONARY, 1, **first, **sizes), small_model(DICTIONARY, 2, **second, **sizes)
    initial, state = halting_of(new), old.state_dict()
    if not marked:
        state.pop(MARK, None)
    with caplog.at_level(logging.INFO, logger=LOGGER):
        new.load_state_dict(state)
    loaded, expected = rest_of(new), rest_of(old)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    return halting_of(old), initial, halting_of(new), [record.getMessage() for record in caplog.records]


def same(found: dict, expected: dict) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_every_pair_of_kinds(first, second, marked, caplog):
    """Encoder and decoder are equally wide, so that shapes do not tell a classifier of s from one of h^1."""
    old, initial, found, log = go_on(KINDS[first], KINDS[second], caplog, marked)
    if first == second or (not marked and {first, second} == {"sequence", "multinomial"}):
        parameters = {name: value for name, value in old.items() if name != MARK}
        assert same(found, {**initial, **parameters}) and log == []
    elif (first, second) == ("geometric", "geometric per block"):
        assert len(found) == 2 * 2 + 1
        for name, value in found.items():
            if name != MARK:
                assert torch.equal(value, old[f"decoder.halting.projections.0.{name.rpartition('.')[2]}"])
        assert len(log) == 1 and "starts that of each block" in log[0]
    else:
        assert same(found, initial)
        if first == "none":
            assert log == []
        else:
            assert len(log) == 1 and "is dropped" in log[0]
            assert ("--halting none" if second == "none" else f"({second.split()[0]}, ") in log[0]
            if marked:
                assert f"({first.split()[0]}, " in log[0]


@pytest.mark.parametrize("first, second", [("sequence", "multinomial"), ("multinomial", "sequence")])
def test_shapes_tell_unmarked_kinds_apart(first, second, caplog):
    _, initial, found, log = go_on(KINDS[first], KINDS[second], caplog, marked=False, encoder_embed_dim=24)
    assert same(found, initial)
    assert len(log) == 1 and "(sequence or multinomial, " in log[0]


def test_layers_of_shared_and_own_classifiers_stay_apart_after_the_start(caplog):
    """Copies, not one tensor by several names."""
    halting = small_model(DICTIONARY, **KINDS["geometric per block"]).decoder.halting
    state = small_model(DICTIONARY, **KINDS["geometric"]).decoder.halting.state_dict()
    state = {f"halting.{name}": value for name, value in state.items()}
    fit_halting(halting, state, "halting.")
    addresses = [value.data_ptr() for name, value in state.items() if name.endswith("weight")]
    assert len(set(addresses)) == len(addresses) == 2


def test_sharing_makes_no_difference_to_two_exits(caplog):
    """They leave one decision."""
    shared, own = KINDS["geometric"], KINDS["geometric per block"]
    for first, second in ((shared, own), (own, shared)):
        old, _, found, log = go_on(first, second, caplog, decoder_layers=2)
        assert same(found, old) and log == []


def test_a_single_exit(caplog):
    """There a layer for each block is no layer at all, and nothing to warn of."""
    own = KINDS["geometric per block"]
    old, _, found, log = go_on(own, own, caplog, decoder_layers=1)
    assert old.keys() == {MARK} and same(found, old) and log == []


def test_half_precision_keeps_the_kind(caplog):
    model = small_model(DICTIONARY, **KINDS["multinomial"]).half()
    assert not model.state_dict()[MARK].is_floating_point()
    other = small_model(DICTIONARY, **KINDS["multinomial"])
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(value.half(), halting_of(model)[name]) for name, value in halting_of(other).items() if name != MARK)

"""The second phase: a model with a halting classifier takes over a model without one."""

import pytest
import torch

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(8)
KINDS = {
    "sequence": {"halting": "sequence"},
    "multinomial": {"halting": "multinomial"},
    "geometric": {"halting": "geometric"},
    "geometric per block": {"halting": "geometric", "halting_per_block": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_phase_checkpoint_starts_the_second(kind):
    first = small_model(DICTIONARY, seed=1)
    second = small_model(DICTIONARY, seed=2, **KINDS[kind])
    initial = {name: value.clone() for name, value in second.decoder.halting.state_dict().items()}
    second.load_state_dict(first.state_dict())

    assert any(value.abs().sum() > 0 for value in initial.values())
    for name, value in second.decoder.halting.state_dict().items():
        assert torch.equal(value, initial[name])
    loaded = dict(second.decoder.named_parameters())
    for name, value in first.decoder.named_parameters():
        assert torch.equal(loaded[name], value), name

    sample = random_sample(DICTIONARY, [(3, 4), (2, 1)])
    criterion = DepthAdaptiveCrossEntropy(small_task(DICTIONARY), False)
    assert torch.equal(criterion(second, sample)[0], criterion(first, sample)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_phase_checkpoint_keeps_its_halting_classifier(kind):
    trained, fresh = (small_model(DICTIONARY, seed=seed, **KINDS[kind]) for seed in (1, 2))
    fresh.load_state_dict(trained.state_dict())
    for name, value in trained.decoder.halting.state_dict().items():
        assert torch.equal(fresh.decoder.halting.state_dict()[name], value)


def test_loading_leaves_the_callers_dictionary_as_it_was():
    state = small_model(DICTIONARY).state_dict()
    names = list(state)
    small_model(DICTIONARY, halting="geometric").load_state_dict(state)
    assert list(state) == names

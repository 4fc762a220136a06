"""Searches that have fewer hypotheses at the greatest length than the beam has places: fairseq's end in an assertion."""

import pytest
import torch
from fairseq.token_generation_constraints import pack_constraints

from tests.models_for_tests import (
    EOS,
    ModelOptions,
    make_generator,
    make_model,
    make_prefixes,
    make_sample,
    make_stock_generator,
    make_stock_model,
    random_sources,
)

MAKERS = [
    pytest.param(make_generator, make_model, id="ours"),
    pytest.param(make_stock_generator, make_stock_model, id="fairseq's"),
]


@pytest.mark.parametrize("make, model", MAKERS)
def test_a_forced_prefix_that_is_the_end_of_sentence(make, model):
    """As an empty reference has it, beside others that are as long as a translation may be."""
    models = [model(ModelOptions(seed=1))]
    prefixes = make_prefixes([[EOS], [5, 6, 7], [8, 9, EOS], [6]])
    sample = make_sample(random_sources(2, [4, 6, 5, 3]))
    found = make(models, beam=3, max_len_b=3).generate(models, sample, prefix_tokens=prefixes)
    best = [hypotheses[0]["tokens"].tolist() for hypotheses in found]
    assert best[:3] == [[EOS], [5, 6, 7, EOS], [8, 9, EOS]]
    assert best[3][0] == 6 and len(best[3]) <= 4
    assert len(found[0]) == 1


@pytest.mark.parametrize("make, model", MAKERS)
def test_constraints_that_cannot_be_met(make, model):
    """Three words where two may be: the user's error, which names the sentence."""
    models = [model(ModelOptions(seed=1))]
    sample = make_sample(random_sources(2, [4, 6]))
    constraints = pack_constraints([[torch.tensor([5])], [torch.tensor([6, 7, 8])]])
    with pytest.raises(ValueError, match="sentence 1 has no translation within --max-len-a and --max-len-b") as raised:
        make(models, beam=3, max_len_b=2, constraints="ordered").generate(models, sample, constraints=constraints)
    assert raised.value.is_user_error

"""What holds for every n-best list, whatever the model and the exits."""

import pytest
import torch

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.generation.test_batches import MODELS, POLICIES, SOURCES, assert_same_sentence, n_best
from tests.generation.test_full_depth import assert_same
from tests.models_for_tests import (
    EOS,
    PAD,
    UNK,
    ModelOptions,
    make_generator,
    make_model,
    make_prefixes,
    make_sample,
    make_stock_generator,
    make_stock_model,
)


@pytest.fixture(scope="module")
def model():
    return make_model(MODELS["pre-norm"])


def hypotheses_of(found):
    return [hypothesis for sentence in found for hypothesis in sentence]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("beam", [1, 2, 5])
def test_shape_of_the_n_best_list(model, policy, beam):
    for sentence in n_best([model], SOURCES, beam=beam, max_len_b=7, min_len=2, lenpen=0.6, **POLICIES[policy]):
        assert len(sentence) == beam
        assert len({tuple(hypothesis["tokens"].tolist()) for hypothesis in sentence}) == beam
        scores = [float(hypothesis["score"]) for hypothesis in sentence]
        assert scores == sorted(scores, reverse=True)
        for hypothesis in sentence:
            tokens, exits, length = hypothesis["tokens"], hypothesis["exits"], len(hypothesis["tokens"])
            assert 3 <= length <= 8
            assert tokens[-1] == EOS and not (tokens[:-1] == EOS).any() and not (tokens == PAD).any()
            assert exits.dtype == torch.long and exits.shape == tokens.shape
            assert 1 <= exits.min() and exits.max() <= 4
            assert hypothesis["steps"] == " ".join(str(exit_index) for exit_index in exits.tolist())
            positional = hypothesis["positional_scores"]
            assert positional.shape == tokens.shape and (positional <= 0).all()
            assert float(hypothesis["score"]) == pytest.approx(float(positional.sum()) / length**0.6, abs=1e-5)


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_lengths_and_unknown_words(model, policy):
    options = dict(beam=3, **POLICIES[policy])
    for hypothesis in hypotheses_of(n_best([model], SOURCES, max_len_b=6, min_len=6, unkpen=100.0, **options)):
        assert len(hypothesis["tokens"]) == 7 and UNK not in hypothesis["tokens"]
    for source, sentence in zip(SOURCES, n_best([model], SOURCES, match_source_len=True, **options)):
        assert len(sentence[0]["tokens"]) == len(source)


@pytest.mark.parametrize("policy", POLICIES)
def test_prefixes_are_kept(model, policy):
    wanted = [[5, 6], [7], [8, 9, EOS], [], [UNK, 4], [11]]
    found = n_best([model], SOURCES, prefixes=make_prefixes(wanted), beam=3, max_len_b=7, **POLICIES[policy])
    for prefix, sentence in zip(wanted, found):
        for hypothesis in sentence:
            assert hypothesis["tokens"].tolist()[: len(prefix)] == prefix
    ended = found[2]
    assert [hypothesis["tokens"].tolist() for hypothesis in ended] == [[8, 9, EOS]] * 3
    assert len({tuple(hypothesis["exits"].tolist()) for hypothesis in ended}) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_ensemble_of_equal_members_is_the_member(model, policy):
    options = dict(beam=3, max_len_b=7, **POLICIES[policy])
    twice = n_best([model, make_model(MODELS["pre-norm"])], SOURCES, **options)
    for found, expected in zip(twice, n_best([model], SOURCES, **options)):
        assert_same_sentence(found, expected)


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_order_of_an_ensemble(model, policy):
    other = make_model(MODELS["cross+self"])
    options = dict(beam=3, max_len_b=7, **POLICIES[policy])
    for found, expected in zip(n_best([model, other], SOURCES, **options), n_best([other, model], SOURCES, **options)):
        assert_same_sentence(found, expected)


def test_ensemble_of_different_depth_is_refused(model):
    with pytest.raises(DepthAdaptiveError, match="3 and 4 exits"):
        make_generator([model, make_model(ModelOptions(decoder_layers=3))], exit_policy="full")


@pytest.mark.parametrize(
    "adaptive, plain",
    [
        ({"exit_policy": "confidence", "exit_thresholds": 1}, {"exit_policy": "full"}),
        ({"exit_policy": "confidence", "exit_thresholds": "0"}, {"exit_policy": "fixed", "exit_at": 1}),
        ({"exit_policy": "confidence", "exit_thresholds": [1.0, 1.0, 0.0]}, {"exit_policy": "fixed", "exit_at": 3}),
        ({"exit_policy": "fixed", "exit_at": 4}, {"exit_policy": "full"}),
        ({"exit_policy": "auto"}, {"exit_policy": "full"}),
    ],
)
def test_policies_that_amount_to_the_same(model, adaptive, plain):
    for found, expected in zip(*(n_best([model], SOURCES, beam=4, max_len_b=7, **p) for p in (adaptive, plain))):
        assert_same_sentence(found, expected)


@pytest.mark.parametrize("policy", ["full", "uniform", "confidence"])
def test_a_single_block(policy):
    model = make_model(ModelOptions(seed=3, decoder_layers=1))
    found = n_best([model], SOURCES, beam=3, max_len_b=7, **POLICIES[policy])
    stock = make_stock_generator([model], beam=3, max_len_b=7).generate([model], make_sample(SOURCES))
    assert_same(found, stock)
    assert all((hypothesis["exits"] == 1).all() for hypothesis in hypotheses_of(found))


@pytest.mark.parametrize("exit_at", [1, 2, 3])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_a_fixed_exit_is_a_shallower_stock_model(exit_at, pre_norm):
    deep = make_model(ModelOptions(seed=5, decoder_layers=3, decoder_normalize_before=pre_norm))
    shallow = make_stock_model(ModelOptions(seed=6, decoder_layers=exit_at, decoder_normalize_before=pre_norm))
    weights = {}
    for name, weight in deep.state_dict().items():
        classifier = f"decoder.exit_classifiers.{exit_at - 1}."
        if name.startswith(classifier):
            name = "decoder." + name[len(classifier) :].replace("projection", "output_projection")
        if name in shallow.state_dict():
            weights[name] = weight
    shallow.load_state_dict(weights)
    found = n_best([deep], SOURCES, beam=4, max_len_b=8, exit_policy="fixed", exit_at=exit_at)
    expected = make_stock_generator([shallow], beam=4, max_len_b=8).generate([shallow], make_sample(SOURCES))
    assert_same(found, expected)
    assert all((hypothesis["exits"] == exit_at).all() for hypothesis in hypotheses_of(found))


def test_seed_and_repetition_of_uniform(model):
    def exits(seed):
        found = n_best([model], SOURCES, beam=2, max_len_b=9, min_len=9, exit_policy="uniform", exit_seed=seed)
        return [hypothesis["exits"].tolist() for hypothesis in hypotheses_of(found)]

    assert exits(1) == exits(1) != exits(2)
    torch.manual_seed(77)  # not torch's global generator
    assert exits(1) == exits(1)

"""A sentence's translation and its exits do not depend on what else is in its batch."""

import pytest
import torch

from tests.models_for_tests import (
    EOS,
    ModelOptions,
    make_generator,
    make_model,
    make_prefixes,
    make_sample,
    random_sources,
)

POLICIES = {
    "full": dict(exit_policy="full"),
    "fixed": dict(exit_policy="fixed", exit_at=2),
    "uniform": dict(exit_policy="uniform", exit_seed=4),
    "confidence": dict(exit_policy="confidence", exit_thresholds=0.45),
    "confidence of each exit": dict(exit_policy="confidence", exit_thresholds="0.6,0.5,0.35"),
}
MODELS = {
    "post-norm": ModelOptions(seed=21, decoder_layers=4, decoder_learned_pos=True),
    "pre-norm": ModelOptions(seed=22, decoder_layers=4, encoder_normalize_before=True, decoder_normalize_before=True),
    "cross+self": ModelOptions(seed=23, decoder_layers=4, cross_self_attention=True),
    "cross+self only": ModelOptions(seed=24, decoder_layers=4, cross_self_attention=True, no_cross_attention=True),
}
SOURCES = random_sources(31, [9, 1, 4, 9, 2, 6])


def assert_same_sentence(found, expected, tolerance=1e-5):
    """Equal n-best lists with equal exits."""
    assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in expected]
    assert [h["exits"].tolist() for h in found] == [h["exits"].tolist() for h in expected]
    for ours, theirs in zip(found, expected):
        assert float(ours["score"]) == pytest.approx(float(theirs["score"]), abs=tolerance)
        torch.testing.assert_close(ours["positional_scores"], theirs["positional_scores"], atol=tolerance, rtol=0)


def n_best(models, sources, padding="left", prefixes=None, **options):
    generator = make_generator(models, **options)
    call = {} if prefixes is None else {"prefix_tokens": prefixes}
    return generator.generate(models, make_sample(sources, padding), **call)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("architecture", MODELS)
def test_alone_or_in_a_batch(architecture, policy):
    models = [make_model(MODELS[architecture])]
    options = dict(beam=3, max_len_b=10, min_len=2, **POLICIES[policy])
    together = n_best(models, SOURCES, **options)
    for source, found in zip(SOURCES, together):
        [alone] = n_best(models, [source], **options)
        assert_same_sentence(found, alone)


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_order_padding_and_company(policy):
    models = [make_model(MODELS["pre-norm"])]
    options = dict(beam=4, max_len_b=8, **POLICIES[policy])
    expected = n_best(models, SOURCES, **options)
    turned = n_best(models, SOURCES[::-1], "mixed", **options)[::-1]
    more = n_best(models, SOURCES + random_sources(5, [14, 3, 3]), "right", **options)
    for sentence, result in enumerate(expected):
        assert_same_sentence(turned[sentence], result)
        assert_same_sentence(more[sentence], result)


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_forced_prefixes(policy):
    models = [make_model(MODELS["post-norm"])]
    options = dict(beam=3, max_len_b=8, **POLICIES[policy])
    prefixes = make_prefixes([[5, 6, 7], [8], [9, EOS], [], [10, 11], [12]])
    together = n_best(models, SOURCES, prefixes=prefixes, **options)
    for sentence, found in enumerate(together):
        [alone] = n_best(models, [SOURCES[sentence]], prefixes=prefixes[sentence : sentence + 1], **options)
        assert_same_sentence(found, alone)


def test_ensembles():
    models = [make_model(MODELS["pre-norm"]), make_model(MODELS["cross+self"])]
    options = dict(beam=3, max_len_b=8, **POLICIES["confidence"])
    for source, found in zip(SOURCES, n_best(models, SOURCES, **options)):
        assert_same_sentence(found, n_best(models, [source], **options)[0])


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_single_precision(policy):
    models = [make_model(MODELS["pre-norm"], torch.float32)]
    options = dict(beam=3, max_len_b=8, **POLICIES[policy])
    for source, found in zip(SOURCES, n_best(models, SOURCES, **options)):
        assert_same_sentence(found, n_best(models, [source], **options)[0], tolerance=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_generator_keeps_nothing_of_the_last_batch(policy):
    models = [make_model(MODELS["pre-norm"])]
    options = dict(beam=3, max_len_b=8, **POLICIES[policy])
    generator = make_generator(models, **options)
    first = generator.generate(models, make_sample(SOURCES[:2]))
    generator.generate(models, make_sample(SOURCES[2:]))
    for found, expected in zip(generator.generate(models, make_sample(SOURCES[:2])), first):
        assert_same_sentence(found, expected, tolerance=0)


def test_exits_differ_within_these_batches():
    """Otherwise the tests above would show little."""
    models = [make_model(MODELS["pre-norm"])]
    for policy in ("uniform", "confidence", "confidence of each exit"):
        found = n_best(models, SOURCES, beam=3, max_len_b=10, **POLICIES[policy])
        exits = torch.cat([hypothesis["exits"] for sentence in found for hypothesis in sentence])
        assert len(exits.unique()) >= 3, (policy, exits.bincount())

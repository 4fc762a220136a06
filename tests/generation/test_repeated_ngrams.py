"""``--no-repeat-ngram-size``: no n-gram twice, and every sentence ends."""

from dataclasses import replace

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.against_slow import compare
from tests.generation.strategies import cases, deterministic
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
from tests.reference.comparison import Comparison

POLICIES = {
    "full": {},
    "fixed": dict(exit_at=1),
    "uniform": dict(exit_seed=2),
    "confidence": dict(exit_thresholds=0.3),
    "entropy": dict(exit_entropy=2.0),
    "margin": dict(exit_margin=0.1),
    "saturation": dict(exit_saturation=0.5),
    "patience": dict(exit_patience=1),
    "sequence": {},
    "multinomial": {},
    "geometric": dict(exit_thresholds=0.5),
}
SEARCHES = {
    "beam": dict(beam=4),
    "greedy": dict(beam=1),
    "nearly all words": dict(beam=12),
    "sampling": dict(beam=3, sampling=True),
    "sampling, top k": dict(beam=3, sampling=True, sampling_topk=4),
    "sampling, top p": dict(beam=3, sampling=True, sampling_topp=0.6),
    "groups": dict(beam=4, diverse_beam_groups=2, diverse_beam_strength=0.7),
    "siblings": dict(beam=4, diversity_rate=0.3),
}
SIZES = (1, 2, 3)
MAKERS = [
    pytest.param(make_generator, make_model, id="ours"),
    pytest.param(make_stock_generator, make_stock_model, id="fairseq's"),
]


def ngrams(tokens, size):
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]


def repeats(tokens, size, prefix=0):
    """Whether an n-gram that ends behind the forced prefix has occurred before."""
    found = ngrams(tokens, size)
    return any(found[i] in found[:i] for i in range(len(found)) if i + size > prefix)


def translate(make, models, **options):
    """n-best lists, as lists of tokens, of a batch of sentences of different lengths."""
    torch.manual_seed(1)
    sample = make_sample(random_sources(5, [4, 1, 7, 2]))
    call = options.pop("call", {})
    found = make(models, **{"beam": 4, "max_len_b": 40, "min_len": 15, **options}).generate(models, sample, **call)
    return [[hypothesis["tokens"].tolist() for hypothesis in hypotheses] for hypotheses in found]


def check(translations, size, prefixes=None):
    for i, hypotheses in enumerate(translations):
        assert hypotheses, "a sentence has no translation"
        for tokens in hypotheses:
            assert not repeats(tokens, size, len(prefixes[i]) if prefixes else 0), tokens
            assert tokens.index(EOS) == len(tokens) - 1


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy(policy, size=2):
    halting = policy if policy in ("sequence", "multinomial", "geometric") else "none"
    models = [make_model(ModelOptions(seed=3, halting=halting))]
    options = dict(exit_policy=policy, **POLICIES[policy])
    assert any(repeats(each, size) for hypotheses in translate(make_generator, models, **options) for each in hypotheses)
    check(translate(make_generator, models, no_repeat_ngram_size=size, **options), size)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("make, model", MAKERS)
def test_every_search(make, model, search):
    """Of one model and of two, with a size of its own each."""
    models = [model(ModelOptions(seed=seed)) for seed in range(2)]
    for members, size in ((models[:1], 1), (models, 2)):
        check(translate(make, members, no_repeat_ngram_size=size, **SEARCHES[search]), size)


@pytest.mark.parametrize("size", SIZES)
def test_forced_prefixes_may_repeat(size):
    """They are kept, and what they hold does not come again."""
    prefixes = [[5, 5, 5, 6], [7, 8, 7, 8], [9], [5, 6, 7]]
    models = [make_model(ModelOptions(seed=3))]
    found = translate(make_generator, models, no_repeat_ngram_size=size, call={"prefix_tokens": make_prefixes(prefixes)})
    check(found, size, prefixes)
    for prefix, hypotheses in zip(prefixes, found):
        assert all(tokens[: len(prefix)] == prefix for tokens in hypotheses)


@pytest.mark.parametrize("make, model", MAKERS)
@pytest.mark.parametrize("options", [{}, dict(sampling=True)], ids=["beam", "sampling"])
def test_a_sentence_ends_when_all_words_are_used(make, model, options):
    """20 words, each of them once, where at least 30 are asked for."""
    models = [model(ModelOptions(seed=3))]
    found = translate(make, models, no_repeat_ngram_size=1, min_len=30, max_len_b=35, **options)
    check(found, 1)
    assert max(len(tokens) for hypotheses in found for tokens in hypotheses) > 20


@pytest.mark.parametrize("members, prefixes", [(1, False), (2, False), (1, True)])
def test_against_the_slow_search(members, prefixes):
    comparison = Comparison()

    @deterministic(10)
    @given(
        cases(members=members, prefixes=prefixes, policies=["full", "uniform", "confidence"]),
        st.sampled_from(SIZES), st.integers(6, 12),
    )
    def run(case, size, max_len):
        compare(replace(case, search={**case.search, "no_repeat_ngram_size": size, "max_len_b": max_len}), comparison)

    run()
    comparison.check(least_mixed=0.3)


def test_fairseqs_generator_can_be_compiled():
    """As it can be without the mend."""
    model = make_stock_model(ModelOptions(seed=1), torch.float32)
    dictionary = model.decoder.dictionary
    generator = SequenceGenerator([model], dictionary, beam_size=2, max_len_b=20, min_len=10, no_repeat_ngram_size=2)
    sample = {"net_input": make_sample(random_sources(3, [4, 6]))["net_input"]}
    found = [torch.jit.script(generator)(sample), generator(sample)]
    compiled, plain = ([[each["tokens"].tolist() for each in hypotheses] for hypotheses in one] for one in found)
    assert compiled == plain
    check(plain, 2)

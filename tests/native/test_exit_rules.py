"""Each statistic, comparison and threshold that the kernels decide by, against the scalar policies."""

import math
import operator

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.inference.linear import LinearFormat
from depth_adaptive_fairseq.inference.native_backend import NativeDecoder
from depth_adaptive_fairseq.inference.packed_weights import packed_weights
from depth_adaptive_fairseq.native import kernels
from depth_adaptive_fairseq.native.kernels import Comparison, ExitRule, Statistic
from tests.models_for_tests import ModelOptions, make_model, make_sample, random_sources
from tests.native.one_row import OneRow
from tests.reference import slow_policies as slow
from tests.reference.scalar_equations import first_argmax
from tests.reference.slow_decoder import SlowDecoder

BLOCKS = 4
TIE = 1e-5
COMPARE = {
    Comparison.ABOVE: operator.gt,
    Comparison.BELOW: operator.lt,
    Comparison.AT_LEAST: operator.ge,
    Comparison.AT_MOST: operator.le,
}
OF_PREDICTION = {
    Statistic.LARGEST_PROBABILITY: slow.SlowConfidence,
    Statistic.ENTROPY: slow.SlowEntropy,
    Statistic.MARGIN: slow.SlowMargin,
}


def properties(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


class GivenLogits(slow.SlowPosition):
    """A position whose exits predict given logits, ``(N, V)``."""

    def __init__(self, logits):
        super().__init__([None], [])
        self._given = logits

    def logits(self, exit_index, member):
        return self._given[exit_index - 1]


@st.composite
def drawn_logits(draw):
    vocabulary = draw(st.integers(2, 200))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    logits = draw(st.floats(0.01, 60)) * torch.randn(BLOCKS, vocabulary, generator=generator)
    if draw(st.booleans()):
        logits = logits.clamp(max=1).round()  # many equals
    return logits


@properties(60)
@given(
    logits=drawn_logits(), statistic=st.sampled_from(list(OF_PREDICTION)), comparison=st.sampled_from(list(Comparison)),
    thresholds=st.lists(st.floats(0, 1), min_size=BLOCKS - 1, max_size=BLOCKS - 1),
)  # fmt: skip
def test_statistics_of_a_prediction(library, logits, statistic, comparison, thresholds):
    if statistic == Statistic.ENTROPY:
        thresholds = [threshold * math.log(logits.size(1)) for threshold in thresholds]
    policy, position = OF_PREDICTION[statistic](thresholds), GivenLogits(logits)
    expected = BLOCKS
    for n, threshold in enumerate(thresholds, start=1):
        value = policy.statistic(n, position, 0)
        assume(abs(value - threshold) > TIE)
        if COMPARE[comparison](value, threshold):
            expected = n
            break
    assert OneRow(library, logits).exit(ExitRule.of(statistic, comparison, thresholds)) == expected


@properties(60)
@given(logits=drawn_logits(), patience=st.integers(1, BLOCKS), agreeing=st.lists(st.booleans(), min_size=BLOCKS, max_size=BLOCKS))
def test_agreement(library, logits, patience, agreeing):
    for n in range(1, BLOCKS):
        if agreeing[n]:
            logits[n] = logits[n - 1]
    policy, position = slow.SlowPatience(patience), GivenLogits(logits)
    expected = next((n for n in range(1, BLOCKS) if policy.leaves(n, position)), BLOCKS)
    rule = ExitRule.of(Statistic.AGREEMENT, Comparison.AT_LEAST, [patience] * (BLOCKS - 1))
    assert OneRow(library, logits).exit(rule) == expected


@pytest.mark.parametrize("value", [1.0, torch.nan, torch.inf])
@pytest.mark.parametrize("places", [(3, 4), (70, 3), (130, 64)])
def test_agreement_is_of_what_torch_calls_the_argmax(library, places, value):
    """The first of the largest, and what is not a number is larger than any."""
    first, second = torch.zeros(150), torch.zeros(150)
    first[list(places)] = value
    second[min(places)] = value
    assert first.argmax() == second.argmax() == min(places)
    rule = ExitRule.of(Statistic.AGREEMENT, Comparison.AT_LEAST, [2, 2, 2])
    assert OneRow(library, torch.stack([first, second, first, first])).exit(rule) == 2
    second[min(places)], second[max(places)] = 0, value
    assert OneRow(library, torch.stack([first, second, first, first])).exit(rule) == 4


@pytest.mark.parametrize("comparison", Comparison)
@pytest.mark.parametrize("statistic", [*OF_PREDICTION, Statistic.CHI, Statistic.PREDICTED_EXIT])
def test_what_is_no_number_never_leaves(library, statistic, comparison):
    logits = torch.randn(BLOCKS, 90)
    logits[:, 70] = torch.nan
    weights = [torch.full((1,), torch.nan)] * BLOCKS
    rule = ExitRule.of(statistic, comparison, [0.5] * (BLOCKS - 1), weights, [0.0] * BLOCKS)
    assert OneRow(library, logits).exit(rule) == BLOCKS


@pytest.mark.parametrize("values", [(3e38, -3e38), (3e38, 3e38), (0.0, -200.0), (-3e38, -1e38)])
def test_the_entropy_of_finite_logits_is_finite(library, values):
    logits = torch.full((BLOCKS, 100), values[1])
    logits[:, 65] = values[0]
    expected = torch.distributions.Categorical(logits=logits[0].double() - logits[0].double().max()).entropy().item()
    decoder = OneRow(library, logits)
    for comparison, threshold in ((Comparison.BELOW, expected + TIE), (Comparison.ABOVE, expected - TIE)):
        assert decoder.exit(ExitRule.of(Statistic.ENTROPY, comparison, [threshold] * (BLOCKS - 1))) == 1


def test_a_state_that_stays_has_a_cosine_of_one(library):
    """Never more, and not before there are two states."""
    decoder = OneRow(library, torch.zeros(BLOCKS, 5))
    for comparison, threshold, expected in (
        (Comparison.ABOVE, 1.0, BLOCKS), (Comparison.ABOVE, 0.999, 2), (Comparison.AT_MOST, 1.0, 2), (Comparison.ABOVE, -2.0, 2)
    ):  # fmt: skip
        assert decoder.exit(ExitRule.of(Statistic.COSINE, comparison, [threshold] * (BLOCKS - 1))) == expected


@pytest.mark.parametrize("biases", [(0, 0, 1, 1), (5, 1, 1, 1), (-3, 0, -1, 9), (2, 2, 2, 2)])
def test_predicted_exit(library, biases):
    """The lowest of equally probable ones."""
    rule = ExitRule.of(Statistic.PREDICTED_EXIT, Comparison.AT_MOST, [1, 2, 3], [torch.zeros(1)] * BLOCKS, biases)
    assert OneRow(library, torch.zeros(BLOCKS, 5)).exit(rule) == first_argmax(biases)


@pytest.mark.parametrize("exit_index, expected", [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_known_exits(library, exit_index, expected):
    assert OneRow(library, torch.zeros(BLOCKS, 5)).exit(ExitRule.of(Statistic.KNOWN_EXITS), exit_index) == expected


@pytest.mark.parametrize(
    "rule, lacks",
    [
        (ExitRule.of(9, Comparison.ABOVE, [0.5] * 3), "a statistic that they know"),
        (ExitRule.of(Statistic.ENTROPY, 4, [0.5] * 3), "a comparison that they know"),
        (ExitRule.of(Statistic.ENTROPY), "thresholds"),
        (ExitRule.of(Statistic.CHI, thresholds=[0.5] * 3), "weights and biases"),
        (ExitRule.of(Statistic.KNOWN_EXITS), "known exits"),
    ],
)
def test_a_rule_that_is_none(library, rule, lacks):
    with pytest.raises(RuntimeError, match=f"the decoding kernels failed: they were given an exit rule without {lacks}"):
        OneRow(library, torch.zeros(BLOCKS, 5)).exit(rule)


OPTIONS = dict(decoder_layers=BLOCKS, decoder_embed_dim=24, vocabulary=90)
MODELS = {
    "none": ModelOptions(seed=51, decoder_normalize_before=True, **OPTIONS),
    "geometric": ModelOptions(seed=52, halting="geometric", halting_per_block=True, **OPTIONS),
    "multinomial": ModelOptions(seed=53, halting="multinomial", decoder_normalize_before=True, **OPTIONS),
}
THRESHOLDS = dict(confidence=(0.02, 0.08), entropy=(3.2, 4.45), margin=(0.001, 0.03), saturation=(0.85, 0.999), geometric=(0.2, 0.8))


def policy_and_rule(name, model, generator):
    """A scalar policy and the same as a rule, with random thresholds."""
    low, high = THRESHOLDS.get(name, (0, 1))
    thresholds = (low + (high - low) * torch.rand(BLOCKS - 1, generator=generator)).tolist()
    halting = model.decoder.halting
    layers = getattr(halting, "projections", [])
    if name == "confidence":
        return slow.SlowConfidence(thresholds), ExitRule.of(Statistic.LARGEST_PROBABILITY, Comparison.ABOVE, thresholds)
    if name == "entropy":
        return slow.SlowEntropy(thresholds), ExitRule.of(Statistic.ENTROPY, Comparison.BELOW, thresholds)
    if name == "margin":
        return slow.SlowMargin(thresholds), ExitRule.of(Statistic.MARGIN, Comparison.ABOVE, thresholds)
    if name == "saturation":
        return slow.SlowSaturation(thresholds), ExitRule.of(Statistic.COSINE, Comparison.ABOVE, thresholds)
    if name == "patience":
        return slow.SlowPatience(2), ExitRule.of(Statistic.AGREEMENT, Comparison.AT_LEAST, [2] * (BLOCKS - 1))
    if name == "geometric":
        weights, biases = [layer.weight[0].detach() for layer in layers], [layer.bias for layer in layers]
        return slow.SlowGeometric(thresholds), ExitRule.of(Statistic.CHI, Comparison.ABOVE, thresholds, weights, biases)
    weight, bias = halting.projection.weight.detach(), halting.projection.bias
    order = range(1, BLOCKS)
    return slow.SlowMultinomial(), ExitRule.of(Statistic.PREDICTED_EXIT, Comparison.AT_MOST, order, list(weight), bias)


@torch.no_grad()
@pytest.mark.parametrize("name", ["confidence", "entropy", "margin", "saturation", "patience", "geometric", "multinomial"])
@properties(4)
@given(lengths=st.lists(st.integers(1, 4), min_size=4, max_size=6), threads=st.integers(1, 2), seed=st.integers(0, 10**6))
def test_a_decoder_follows_the_rule(library, name, lengths, threads, seed):
    """Rows of several sentences, several steps: exits and best tokens of the scalar decoder, copied states included."""
    model = make_model(MODELS.get(name, MODELS["none"]), torch.float32)
    generator = torch.Generator().manual_seed(seed)
    policy, rule = policy_and_rule(name, model, generator)
    library.set_threads(threads)
    sources = random_sources(seed, lengths)
    encoder_out = model.encoder.forward_torchscript(make_sample(sources, "mixed")["net_input"])
    states, padding = encoder_out["encoder_out"][0].transpose(0, 1), encoder_out["encoder_padding_mask"][0]
    decoder = NativeDecoder(model.decoder, packed_weights(model.decoder, LinearFormat(native=True), True), states, padding, 1)
    references = [SlowDecoder([model], source, policy) for source in sources]
    options = kernels.CandidateOptions.of(3, torch.tensor([1]).numpy(), 3, 0.0)
    prefixes, exits = [[] for _ in sources], [[] for _ in sources]
    for _ in range(3):
        newest = torch.randint(4, 90, (len(sources),), generator=generator)
        scores, tokens, found = decoder.run_step(newest.numpy(), options, rule)
        for row, reference in enumerate(references):
            prefixes[row].append(newest[row].item())
            policy.margin = math.inf
            expected = reference.predict(prefixes[row], exits[row])
            exits[row].append(int(found[row]))
            if expected.exit != found[row]:
                assert policy.margin < TIE
                continue
            best = expected.log_probabilities[tokens[row]]
            torch.testing.assert_close(torch.from_numpy(scores[row]).to(best), best, atol=1e-4, rtol=1e-4)

"""Aligned training (Eq. 4) against a loop over exits, sentences and positions."""

import math

import pytest
import torch
from fairseq import metrics
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.models.transformer import TransformerModelBase
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.models.configuration import to_transformer_config
from tests.small_models import random_sample, small_config, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary()
TASK = small_task(DICTIONARY)
WEIGHTS = {
    "uniform": lambda n: 1,
    "linear": lambda n: n,
    "sqrt": math.sqrt,
    "inverse-sqrt": lambda n: 1 / math.sqrt(n),
    "inverse": lambda n: 1 / n,
}


def aligned_loss_by_hand(model, sample, weighting, label_smoothing, ignored_prefix):
    """Eq. 4 for one sentence at a time, without padding; also each exit's summed negative log-likelihood."""
    loss, nlls = 0.0, [0.0] * model.decoder.num_exits
    weights = [WEIGHTS[weighting](n) for n in range(1, model.decoder.num_exits + 1)]
    inputs = sample["net_input"]
    for source, previous, target in zip(inputs["src_tokens"], inputs["prev_output_tokens"], sample["target"]):
        source, previous, target = (x[x.ne(DICTIONARY.pad())][None] for x in (source, previous, target))
        _, extra = model(source, torch.tensor([source.size(1)]), previous)
        for exit_index, weight in enumerate(weights, start=1):
            hidden = extra["inner_states"][exit_index][:, 0]  # (tgt_len, width)
            for position in range(ignored_prefix, target.size(1)):
                logits = model.decoder.exit_classifier(exit_index)(hidden[position])
                log_probabilities = torch.log_softmax(logits, dim=-1)
                nll = -log_probabilities[target[0, position]]
                epsilon = label_smoothing / (len(logits) - 1)
                smoothed = (1 - label_smoothing - epsilon) * nll - epsilon * log_probabilities.sum()
                loss = loss + weight / sum(weights) * smoothed
                nlls[exit_index - 1] += nll.item()
    return loss, nlls


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    weighting=st.sampled_from(sorted(WEIGHTS)),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    lengths=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4),
    options=st.fixed_dictionaries(
        {
            "share_exit_classifiers": st.booleans(),
            "decoder_normalize_before": st.booleans(),
            "decoder_layers": st.integers(1, 4),
            "decoder_output_dim": st.sampled_from([None, 10]),
        }
    ),
    ignored_prefix=st.integers(0, 1),
    seed=st.integers(0, 10**6),
)
def test_loss_and_gradients_equal_the_loop(weighting, label_smoothing, lengths, options, ignored_prefix, seed):
    model = small_model(DICTIONARY, seed, **options).double()
    sample = random_sample(DICTIONARY, lengths, seed)
    criterion = DepthAdaptiveCrossEntropy(
        TASK, False, label_smoothing, exit_weights=weighting, ignore_prefix_size=ignored_prefix
    )
    loss, sample_size, log = criterion(model, sample)
    expected, nlls = aligned_loss_by_hand(model, sample, weighting, label_smoothing, ignored_prefix)

    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert sample_size == sample["ntokens"]
    assert [log[f"nll_{n + 1}"].item() for n in range(len(nlls))] == pytest.approx(nlls, rel=1e-6)
    assert log["nll_loss"] == log[f"nll_{len(nlls)}"]

    parameters = [p for p in model.parameters() if p.requires_grad]
    ours = torch.autograd.grad(loss, parameters, allow_unused=True)
    reference = torch.autograd.grad(expected, parameters, allow_unused=True)
    for mine, theirs in zip(ours, reference):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-8)


def test_padding_changes_nothing():
    model = small_model(DICTIONARY).double()
    criterion = DepthAdaptiveCrossEntropy(TASK, False, 0.1)
    lengths = [(3, 5), (6, 2), (1, 1)]
    together = criterion(model, random_sample(DICTIONARY, lengths))[0]
    sample = random_sample(DICTIONARY, lengths)
    alone = 0.0
    for row in range(len(lengths)):
        part = {"target": sample["target"][row : row + 1], "ntokens": 0}
        part["net_input"] = {name: value[row : row + 1] for name, value in sample["net_input"].items()}
        alone += criterion(model, part)[0]
    assert together.item() == pytest.approx(alone.item(), rel=1e-9)


def test_one_exit_is_stock_label_smoothed_cross_entropy():
    model = small_model(DICTIONARY, decoder_layers=1)
    sample = random_sample(DICTIONARY, [(3, 5), (6, 2)])
    ours = DepthAdaptiveCrossEntropy(TASK, True, 0.1, report_accuracy=True)(model, sample)
    stock = LabelSmoothedCrossEntropyCriterion(TASK, True, 0.1, report_accuracy=True)(model, sample)
    assert ours[0].item() == pytest.approx(stock[0].item(), rel=1e-5)
    assert ours[1] == stock[1] == 2  # --sentence-avg
    for name in ("nll_loss", "loss", "n_correct", "total", "ntokens", "nsentences", "sample_size"):
        assert float(ours[2][name]) == pytest.approx(float(stock[2][name]), rel=1e-5)


def test_every_exit_is_logged_in_bits():
    model = small_model(DICTIONARY)
    sample = random_sample(DICTIONARY, [(3, 5), (6, 2)])
    criterion = DepthAdaptiveCrossEntropy(TASK, False, 0.0, report_accuracy=True)
    log = criterion(model, sample)[2]
    with metrics.aggregate(new_root=True) as aggregated:
        criterion.reduce_metrics([log, log])
    values = aggregated.get_smoothed_values()
    tokens = sample["ntokens"]
    for n in (1, 2, 3):
        assert values[f"nll_{n}"] == pytest.approx(log[f"nll_{n}"].item() / tokens / math.log(2), abs=1e-3)
    assert values["nll_loss"] == values["nll_3"]
    assert values["ppl"] == pytest.approx(2 ** (log["nll_3"].item() / tokens / math.log(2)), abs=0.02)
    assert 0 <= values["accuracy"] <= 100


def test_model_without_exits_is_refused():
    config = to_transformer_config(small_config())
    stock = TransformerModelBase.build_model(config, TASK)
    with pytest.raises(DepthAdaptiveError, match="--arch depth_adaptive_transformer"):
        DepthAdaptiveCrossEntropy(TASK, False)(stock, random_sample(DICTIONARY, [(2, 2)]))


@pytest.mark.parametrize("options", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"ignore_prefix_size": -1}])
def test_values_out_of_range_are_refused(options):
    with pytest.raises(DepthAdaptiveError, match=str(list(options.values())[0])):
        DepthAdaptiveCrossEntropy(TASK, False, **options)


@pytest.mark.parametrize("option", ["training_mode", "exit_weights", "oracle"])
def test_unknown_choices_are_refused(option):
    with pytest.raises(DepthAdaptiveError, match=f"--{option.replace('_', '-')} guess was given; give one of "):
        DepthAdaptiveCrossEntropy(None, False, **{option: "guess"})

"""The gradients of the whole criterion in float64 against finite differences."""

import pytest
import torch

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.modules.double_precision import double_attention
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(5)
TASK = small_task(DICTIONARY)
STEP = 1e-5
GEOMETRIC = {"halting": "geometric"}
CASES = {
    "aligned": ({"label_smoothing": 0.1, "exit_weights": "linear"}, {}),
    "likelihood, geometric": ({"exit_loss_weight": 0.7, "oracle_penalty": 0.1, "oracle_kernel_width": 2.0}, GEOMETRIC),
    "correctness, per block": (
        {"exit_loss_weight": 0.7, "oracle": "correctness", "oracle_penalty": 0.1},
        {**GEOMETRIC, "halting_per_block": True, "decoder_normalize_before": True},
    ),
    "likelihood, multinomial": ({"exit_loss_weight": 0.7, "sentence_avg": True}, {"halting": "multinomial"}),
    "likelihood, sequence": ({"exit_loss_weight": 0.7, "ignore_prefix_size": 1}, {"halting": "sequence"}),
    "mixed": ({"training_mode": "mixed", "exit_paths": 2, "label_smoothing": 0.1}, {}),
    "mixed, pre-norm, tied": (
        {"training_mode": "mixed"},
        {"decoder_normalize_before": True, "share_exit_classifiers": True, "halting": "geometric"},
    ),
}


@pytest.mark.parametrize("case", CASES)
@double_attention()
def test_gradients_equal_difference_quotients(case):
    """Along a random direction for each parameter.

    An oracle is constant around random parameters, and nothing here has a kink: the activation is smooth.
    """
    criterion_options, model_options = CASES[case]
    criterion = DepthAdaptiveCrossEntropy(TASK, **{"sentence_avg": False, **criterion_options})
    model = small_model(DICTIONARY, 4, encoder_layers=1, activation_fn="tanh", **model_options).double().train()
    sample = random_sample(DICTIONARY, [(3, 4), (5, 2)], 4)

    def loss():
        return criterion(model, sample)[0]

    loss().backward()
    generator = torch.Generator().manual_seed(0)
    checked = 0
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert name.startswith("encoder."), name  # fairseq's unused copies of weights
            continue
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        expected = (parameter.grad * direction).sum().item()
        with torch.no_grad():
            parameter.add_(STEP * direction)
            above = loss().item()
            parameter.sub_(2 * STEP * direction)
            below = loss().item()
            parameter.add_(STEP * direction)
        assert (above - below) / (2 * STEP) == pytest.approx(expected, rel=1e-5, abs=2e-7), name
        checked += abs(expected) > 1e-4
    assert checked > 50  # keys' biases and blocks that no path reaches have no influence, all others do

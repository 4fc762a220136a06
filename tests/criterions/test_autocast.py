"""The criterion under autocast to bfloat16: a CPU's counterpart of what ``--amp`` does on a GPU."""

import pytest
import torch

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary()
SAMPLE = random_sample(DICTIONARY, [(3, 4), (6, 2), (1, 5)])


def run(criterion: DepthAdaptiveCrossEntropy, enabled: bool, **options):
    """The loss, its log, and the gradients of the halting classifier and of all else, each as one vector."""
    model = small_model(DICTIONARY, **options).train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        loss, _, log = criterion(model, SAMPLE)
    loss.backward()
    gradients = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            gradients["halting" in name].append(parameter.grad.flatten())
    return loss, log, [torch.cat(each) for each in gradients.values() if each]


@pytest.mark.parametrize(
    "training_mode, halting, per_block",
    [
        ("aligned", "none", False),
        ("aligned", "sequence", False),
        ("aligned", "multinomial", False),
        ("aligned", "geometric", False),
        ("aligned", "geometric", True),
        ("mixed", "none", False),
    ],
)
def test_losses_and_gradients_are_near_those_of_float32(training_mode, halting, per_block):
    trains_halting = halting != "none"
    criterion = DepthAdaptiveCrossEntropy(
        small_task(DICTIONARY), False, 0.1, training_mode, exit_loss_weight=1.0 if trains_halting else 0.0
    )
    options = dict(halting=halting, halting_per_block=per_block)
    loss, log, gradients = run(criterion, True, **options)
    expected_loss, expected_log, expected_gradients = run(criterion, False, **options)
    assert loss.dtype == torch.float32
    assert loss.item() != expected_loss.item(), "autocast did nothing"
    assert loss.item() == pytest.approx(expected_loss.item(), rel=0.01)
    if trains_halting:
        assert log["exit_loss"].item() == pytest.approx(expected_log["exit_loss"].item(), rel=0.01)
    assert len(gradients) == len(expected_gradients) == 1 + trains_halting
    for found, expected in zip(gradients, expected_gradients):
        assert (found - expected).norm() < 0.1 * expected.norm()

"""Logits are what training N exits could cost in memory: those of two exits must never live at once."""

import weakref
from contextlib import contextmanager

import pytest
import torch

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(40)
TASK = small_task(DICTIONARY)
VOCABULARY, WIDTH, EXITS = len(DICTIONARY), 16, 4
SAMPLE = random_sample(DICTIONARY, [(3, 6), (2, 4), (4, 5)])


@contextmanager
def watched_classifiers(model):
    """A list that grows with each visit to a classifier: how many earlier logits were still alive then."""
    alive, outputs = [], []

    def look(classifier, inputs, output):
        alive.append(sum(reference() is not None for reference in outputs))
        outputs.append(weakref.ref(output))

    hooks = [classifier.register_forward_hook(look) for classifier in model.decoder.exit_classifiers]
    try:
        yield alive
    finally:
        for hook in hooks:
            hook.remove()
    assert all(reference() is None for reference in outputs)


@contextmanager
def watched_graph(model):
    """Fails where autograd keeps a tensor as wide as logits for the backward pass."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor):
        transposed_matrix = tensor.shape == (WIDTH, VOCABULARY)
        if tensor.dim() > 0 and tensor.size(-1) == VOCABULARY and not transposed_matrix:
            assert tensor.untyped_storage().data_ptr() in parameters, f"{tuple(tensor.shape)} is kept for the backward pass"
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "model_dtype, autocast",
    [
        (torch.float32, None),
        (torch.float16, None),
        (torch.bfloat16, None),
        (torch.float32, torch.float16),
        (torch.float32, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("options", [{}, {"training_mode": "mixed", "exit_paths": 2}])
def test_one_exit_at_a_time_in_training(options, model_dtype, autocast, tied):
    model = small_model(DICTIONARY, decoder_layers=EXITS, share_exit_classifiers=tied).to(model_dtype).train()
    criterion = DepthAdaptiveCrossEntropy(TASK, False, 0.1, **options)
    with watched_classifiers(model) as alive:
        with watched_graph(model), torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
            loss = criterion(model, SAMPLE)[0]
        loss.backward()
    visits = 2 if torch.float16 in (model_dtype, autocast) else 1
    assert alive == [0] * EXITS * visits


def test_one_exit_at_a_time_in_validation():
    model = small_model(DICTIONARY, decoder_layers=EXITS, halting="geometric").eval()
    criterion = DepthAdaptiveCrossEntropy(TASK, False, 0.1, exit_loss_weight=1.0)
    with watched_classifiers(model) as alive, torch.no_grad():
        criterion(model, SAMPLE)
    assert alive == [0] * EXITS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_is_kept_is_freed_by_the_backward_pass(dtype):
    """The loss itself may live on, as fairseq's does in its log."""
    kept = []

    def pack(tensor):
        copy = tensor.detach().clone()
        kept.append(weakref.ref(copy))
        return copy

    model = small_model(DICTIONARY, decoder_layers=EXITS).to(dtype).train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = DepthAdaptiveCrossEntropy(TASK, False)(model, SAMPLE)[0]
        assert any(reference() is not None and reference().size() == (VOCABULARY, WIDTH) for reference in kept)
        loss.backward()
    assert all(reference() is None for reference in kept)
    assert loss.isfinite()

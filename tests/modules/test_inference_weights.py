"""Packed weights follow the model's: no stale copies, and none kept when the model is gone."""

import gc
import weakref

import pytest
import torch

from depth_adaptive_fairseq.modules.inference_linear import Packing
from depth_adaptive_fairseq.modules.inference_weights import _KNOWN, inference_weights
from tests.small_models import small_dictionary, small_model

DICTIONARY = small_dictionary(8)


def test_packed_once():
    decoder = small_model(DICTIONARY, 1).decoder
    assert inference_weights(decoder) is inference_weights(decoder)


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_packed_again_when_weights_change(quantization):
    decoder = small_model(DICTIONARY, 1).decoder
    x = torch.randn(2, decoder.layers[0].embed_dim)
    before = inference_weights(decoder, Packing(quantization, "torch")).blocks[0].qkv(x)
    with torch.no_grad():
        decoder.layers[0].self_attn.k_proj.weight.add_(1.0)
    assert not torch.allclose(inference_weights(decoder, Packing(quantization, "torch")).blocks[0].qkv(x), before)


def test_packed_again_after_an_update_by_fairseq():
    """fairseq's Adam writes through ``.data``, which no version counter sees."""
    decoder = small_model(DICTIONARY, 1).decoder
    x = torch.randn(2, decoder.layers[0].embed_dim)
    before = inference_weights(decoder, Packing(kernels="torch")).blocks[0].qkv(x)
    decoder.layers[0].self_attn.k_proj.weight.data.add_(1.0)
    assert not torch.allclose(inference_weights(decoder, Packing(kernels="torch"), num_updates=1).blocks[0].qkv(x), before)


def test_packed_again_when_the_precision_changes():
    model = small_model(DICTIONARY, 1)
    inference_weights(model.decoder)
    model.double()
    assert inference_weights(model.decoder).blocks[0].qkv.weight.dtype == torch.float64


def test_nothing_is_kept_of_a_model_that_is_gone():
    gc.collect()  # models of other tests that are gone, too, must not go in between
    model = small_model(DICTIONARY, 1)
    inference_weights(model.decoder), inference_weights(model.encoder)
    decoder, size = weakref.ref(model.decoder), len(_KNOWN)
    del model
    gc.collect()
    assert decoder() is None and len(_KNOWN) == size - 2

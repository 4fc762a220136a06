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


def replace_by_assignment(decoder):
    decoder.load_state_dict({name: value + 1 for name, value in decoder.state_dict().items()}, assign=True)


def replace_a_parameter(decoder):
    decoder.layers[0].self_attn.k_proj.weight = torch.nn.Parameter(decoder.layers[0].self_attn.k_proj.weight + 1)


def replace_a_layer(decoder):
    decoder.layers[0].self_attn.k_proj = torch.nn.Linear(*decoder.layers[0].self_attn.k_proj.weight.shape)


@pytest.mark.parametrize("replace", [replace_by_assignment, replace_a_parameter, replace_a_layer])
@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_packed_again_when_something_is_replaced(replace, kernels):
    decoder = small_model(DICTIONARY, 1).decoder
    before = inference_weights(decoder, Packing(kernels=kernels))
    replace(decoder)
    assert inference_weights(decoder, Packing(kernels=kernels)) is not before


@pytest.mark.parametrize("where", ["layers.1.dropout_module", "layers.0.self_attn.dropout_module", "dropout_module"])
def test_packed_again_when_a_dropout_wakes_up(where):
    decoder = small_model(DICTIONARY, 1).decoder
    before = inference_weights(decoder)
    dropout = decoder.get_submodule(where)
    dropout.p, dropout.apply_during_inference = 0.1, True
    assert inference_weights(decoder) is not before


def test_generators_of_two_precisions_take_turns():
    decoder = small_model(DICTIONARY, 1).decoder
    float32, int8 = inference_weights(decoder), inference_weights(decoder, Packing("int8"))
    assert inference_weights(decoder) is float32 and inference_weights(decoder, Packing("int8")) is int8


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

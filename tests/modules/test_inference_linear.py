"""Packed linear layers compute what the layer they come from computes, to the precision of their weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from depth_adaptive_fairseq.inference.linear import QUANTIZATIONS, LinearFormat, OneDnnLinear, pack_linear

# Largest error, relative to the largest product that a row of weights can make of an input.
TOLERANCES = {"none": 1e-6, "float16": 2e-3, "int8": 3e-2}


def form(quantization, kernels):
    """The kernels have no float16 weights."""
    return LinearFormat(quantization, native=kernels == "native" and quantization != "float16")


@torch.no_grad()
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("kernels", ["native", "torch"])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    inputs=st.integers(1, 70), outputs=st.integers(1, 90), rows=st.integers(1, 9), bias=st.booleans(), seed=st.integers(0, 10**6)
)
def test_same_outputs(kernels, quantization, wide, inputs, outputs, rows, bias, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=bias)
    x = torch.randn(rows, inputs)
    packed = pack_linear(layer.weight, layer.bias, form(quantization, kernels), wide)
    scale = float(x.norm(dim=1).max() * layer.weight.norm(dim=1).max()) + 1e-3
    found = packed(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(x), rtol=0, atol=TOLERANCES[quantization] * scale)
    first = outputs // 2
    torch.testing.assert_close(packed.outputs_from(x, first), found[:, first:], rtol=1e-5, atol=1e-5)


def test_a_wide_layer_is_packed_where_pytorch_can():
    weight = torch.randn(64, 8)
    assert isinstance(pack_linear(weight, None, wide=True), OneDnnLinear) == OneDnnLinear.can_pack(weight)
    assert not isinstance(pack_linear(weight.double(), None, wide=True), OneDnnLinear)


@torch.no_grad()
@pytest.mark.parametrize("kernels", ["native", "torch"])
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_weights_of_zeros_stay_finite(kernels, quantization):
    x = torch.randn(3, 8)
    assert pack_linear(torch.zeros(5, 8), torch.ones(5), form(quantization, kernels))(x).eq(1).all()

"""An encoder run by the native kernels gives what PyTorch's gives."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.inference.encoder_pass import encode
from depth_adaptive_fairseq.inference.plan import Request, make_plan
from tests.models_for_tests import ModelOptions, make_model, make_sample, random_sources

SIZES = dict(encoder_layers=2, encoder_embed_dim=40, encoder_ffn_embed_dim=70, encoder_attention_heads=2)
MODELS = {
    "post-norm": ModelOptions(seed=41, layernorm_embedding=True, **SIZES),
    "pre-norm": ModelOptions(seed=42, encoder_normalize_before=True, **SIZES),
}


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), padding=st.sampled_from(["left", "right", "mixed"]),
    threads=st.integers(1, 2), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_states(library, name, lengths, padding, threads, seed):
    model = make_model(MODELS[name], torch.float32)
    plan = make_plan([model])
    assert plan.encoder.fast
    inputs = make_sample(random_sources(seed, lengths), padding)["net_input"]
    library.set_threads(threads)
    found = encode(model.encoder, inputs, plan)
    expected = model.encoder.forward_torchscript(inputs)
    real = ~found["encoder_padding_mask"][0].T.unsqueeze(-1)  # what is there at padding means nothing
    torch.testing.assert_close(found["encoder_out"][0] * real, expected["encoder_out"][0] * real, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_int8_weights_are_near(library):
    model = make_model(MODELS["pre-norm"], torch.float32)
    inputs = make_sample(random_sources(3, [5, 5, 7]))["net_input"]
    found, expected = (encode(model.encoder, inputs, make_plan([model], Request(quantization)))["encoder_out"][0] for quantization in ("int8", "none"))
    assert 0 < (found - expected).norm() < 0.05 * expected.norm()

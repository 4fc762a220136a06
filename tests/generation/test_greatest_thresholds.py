"""The greatest thresholds: rounding must not take a cosine above 1, nor a whole number overflow."""

import pytest
import torch

from depth_adaptive_fairseq.exits.loop import BlockOutput
from depth_adaptive_fairseq.exits.statistics import COSINE
from tests.models_for_tests import ModelOptions, make_generator, make_model, make_sample, random_sources

SOURCES = random_sources(1, [7, 4, 9, 5, 6, 3, 8])


@pytest.fixture(scope="module")
def unchanging():
    """A model all of whose blocks after the first hand on the state that they get."""
    model = make_model(ModelOptions(decoder_layers=4, decoder_normalize_before=True), torch.float32)
    with torch.no_grad():
        for block in model.decoder.layers[1:]:
            for layer in (block.self_attn.out_proj, block.encoder_attn.out_proj, block.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
    return model


@pytest.mark.parametrize("kernels", ["auto", "torch"])
@pytest.mark.parametrize("members", [1, 3])
def test_1_never_leaves(unchanging, kernels, members):
    models = [unchanging] * members
    options = dict(exit_policy="saturation", decoding_kernels=kernels, beam=3, max_len_b=9, min_len=9)
    for threshold, exit_index in ((1.0, 4), (0.99, 2)):
        generator = make_generator(models, exit_saturation=threshold, **options)
        found = generator.generate(models, make_sample(SOURCES))
        taken = {n for sentence in found for hypothesis in sentence for n in hypothesis["exits"].tolist()}
        assert taken == {exit_index}


@pytest.mark.parametrize("threshold, leaves", [(1.0, 0), (0.9999, 4000)])
def test_equal_states(threshold, leaves):
    """Some of their cosines come out above 1."""
    states = torch.randn(4000, 64, generator=torch.Generator().manual_seed(1))
    assert (torch.cosine_similarity(states, states) > 1).any()

    cosines, remembered = COSINE.compute(BlockOutput(1, [states], []), None)
    assert cosines.isnan().all()
    cosines, _ = COSINE.compute(BlockOutput(2, [states], []), remembered)
    assert int((cosines > threshold).sum()) == leaves


def test_patience_beyond_64_bits_is_refused(unchanging):
    """The largest that a tensor of integers is compared with never leaves."""
    options = dict(exit_policy="patience", beam=2, max_len_b=4)
    with pytest.raises(ValueError, match=f"--exit-patience {2**63} was given"):
        make_generator([unchanging], exit_patience=2**63, **options)
    generator = make_generator([unchanging], exit_patience=2**63 - 1, **options)
    found = generator.generate([unchanging], make_sample(SOURCES))
    assert {n for sentence in found for hypothesis in sentence for n in hypothesis["exits"].tolist()} == {4}

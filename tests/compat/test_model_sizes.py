"""Sizes are looked at before anything is built."""

import argparse
import re
import time

import pytest
from fairseq import checkpoint_utils
from fairseq.models import build_model
from omegaconf import OmegaConf

from depth_adaptive_fairseq.compat import model_sizes
from tests.compat.altered import altered, options_of_model

HUGE = 10**9


@pytest.fixture
def load(checkpoint, data, tmp_path):
    """Load the checkpoint with other options of its model; no tensor of any size may be made on the way."""

    def load(flat=False, **options):
        def change(state):
            options_of_model(state).update(options)
            if flat:
                arguments = {**options_of_model(state), "task": "translation", "arch": "transformer"}
                state.update(args=argparse.Namespace(**arguments), cfg=None)

        path = altered(checkpoint, tmp_path / "sizes.pt", change)
        return checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data)})

    return load


LIES = [
    (dict(encoder_layers=HUGE), "--encoder-layers is 1000000000"),
    (dict(decoder_layers=2), "--decoder-layers is 2, the weights have 1"),
    (dict(decoder_layers=0), "--decoder-layers is 0, the weights have 1"),
    (dict(encoder_layers=-1), "--encoder-layers is -1"),
    (dict(encoder_layers=1.5), "--encoder-layers is 1.5"),
    (dict(encoder_layers="many"), "--encoder-layers is 'many', not a whole number"),
    (dict(encoder_layers=[1]), "not a whole number"),
    (dict(encoder_attention_heads=0), "--encoder-attention-heads is 0"),
    (dict(decoder_attention_heads=-2), "--decoder-attention-heads is -2"),
    (dict(decoder_attention_heads=3), "--decoder-embed-dim 16 is no multiple of --decoder-attention-heads 3"),
    (dict(encoder_attention_heads=HUGE), "--encoder-attention-heads is 1000000000"),
    (dict(encoder_embed_dim=0), "--encoder-embed-dim is 0"),
    (dict(encoder_embed_dim=-16), "--encoder-embed-dim is -16"),
    (dict(encoder_embed_dim=17), "--encoder-embed-dim 17 is no multiple"),
    (dict(encoder_embed_dim=32), "--encoder-embed-dim is 32, the weights have 16"),
    (dict(decoder_embed_dim=HUGE), "--decoder-embed-dim is 1000000000"),
    (dict(decoder_ffn_embed_dim=HUGE), "--decoder-ffn-embed-dim is 1000000000"),
    (dict(decoder_ffn_embed_dim=0), "--decoder-ffn-embed-dim is 0"),
    (dict(encoder_ffn_embed_dim=18), "--encoder-ffn-embed-dim is 18, the weights have 16"),
    (dict(decoder_output_dim=HUGE), "--decoder-output-dim is 1000000000, allowed is at most 1000000"),
    (dict(decoder_output_dim=100_000), "--decoder-output-dim is 100000, the largest size of a weight is"),
    (dict(max_source_positions=10**12), "--max-source-positions is 1000000000000, allowed is 1 to 1048576"),
    (dict(max_target_positions=0), "--max-target-positions is 0"),
    (dict(max_target_positions=float("nan")), "--max-target-positions is nan"),
    (dict(max_target_positions=-5), "--max-target-positions is -5"),
]


@pytest.mark.parametrize("options, reason", LIES)
def test_sizes_of_a_checkpoint_that_lie(load, options, reason):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=f"the configuration of checkpoint .*sizes.pt does not fit: .*{re.escape(reason)}") as info:
        load(**options)
    assert info.value.is_user_error and "\n" not in str(info.value)
    assert time.perf_counter() - start < 20


def test_sizes_of_the_old_kind_of_configuration(load):
    with pytest.raises(ValueError, match="sizes.pt does not fit: --decoder-embed-dim is 1000000000"):
        load(flat=True, decoder_embed_dim=HUGE)


def test_sizes_that_are_right_or_unknown(load):
    models, _, _ = load()
    assert len(models) == 1
    load(max_source_positions=2000, decoder_output_dim=16)  # computed positions are as many as one likes


def test_learned_positions_are_those_of_the_weights():
    weights = {"encoder.layers.0.fc1.weight": (8, 4), "encoder.embed_positions.weight": (102, 4)}
    options = {"encoder_layers": 1, "encoder_embed_dim": 4, "max_source_positions": 100}
    assert list(model_sizes._misfits(options, weights)) == []
    assert list(model_sizes._misfits({**options, "max_source_positions": 500}, weights)) == [
        "--max-source-positions is 500, the weights have 102 positions"
    ]
    roberta = {"encoder.sentence_encoder.layers.1.fc1.weight": (8, 4), "encoder.sentence_encoder.embed_positions.weight": (514, 4)}
    options = {"encoder_layers": 2, "encoder_embed_dim": 4, "max_positions": 512}
    assert list(model_sizes._misfits(options, roberta)) == []
    assert len(list(model_sizes._misfits({**options, "max_positions": 1024}, roberta))) == 1


def test_layers_that_are_left_out_on_purpose():
    weights = {f"decoder.layers.{n}.fc1.weight": (8, 4) for n in range(6)}
    options = {"decoder_layers": 2, "decoder_layers_to_keep": "0,1"}
    assert list(model_sizes._misfits(options, weights)) == []
    assert list(model_sizes._misfits({"decoder_layers": 2}, weights)) == ["--decoder-layers is 2, the weights have 6"]
    assert len(list(model_sizes._misfits({**options, "decoder_layers": 7}, weights))) == 1


def test_weights_under_names_that_say_nothing():
    weights = {"w": (8192, 8)}
    options = {"decoder_layers": 100, "decoder_embed_dim": 8192, "decoder_ffn_embed_dim": 8192}
    assert "have 40265318400 numbers" in next(model_sizes._misfits(options, weights))
    assert list(model_sizes._misfits({"w2v_args": {}, "wide_layers": 200}, weights)) == ["--wide-layers is 200, there are 1 weights"]


def test_nested_options():
    cfg = OmegaConf.create({"encoder": {"layers": HUGE, "embed_dim": 4}, "x": None})
    assert next(model_sizes._misfits(model_sizes._options(cfg), {})).startswith("--encoder-layers is 1000000000")


def test_sizes_of_a_new_model(checkpoint, data):
    _, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], {"data": str(data)})
    for options, reason in LIES:
        if "weight" not in reason and "not a whole number" not in reason:
            model = argparse.Namespace(**{**vars(cfg.model), **options})
            with pytest.raises(ValueError, match=f"the model's configuration does not fit: {re.escape(reason)}"):
                build_model(model, task)

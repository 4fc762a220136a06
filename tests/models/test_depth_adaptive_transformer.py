"""The N-exit model: options, presets, refusals, warm start."""

import argparse

import pytest
import torch
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY
from fairseq.models.transformer import TransformerConfig, TransformerModelBase

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.models.configuration import FlatTransformerConfig, to_transformer_config
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel
from tests.small_models import random_sample, small_config, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary()
TASK = small_task(DICTIONARY)
PRESETS = [
    ("depth_adaptive_transformer", dict(encoder_embed_dim=512, decoder_embed_dim=512, decoder_ffn_embed_dim=2048)),
    ("depth_adaptive_transformer_iwslt_de_en", dict(encoder_embed_dim=512, decoder_embed_dim=256, decoder_ffn_embed_dim=1024)),
    ("depth_adaptive_transformer_wmt_en_fr_big", dict(encoder_embed_dim=1024, decoder_embed_dim=1024, share_exit_classifiers=True)),
    ("depth_adaptive_transformer_tiny", dict(encoder_embed_dim=64, decoder_embed_dim=64, decoder_layers=6)),
]


def stock_model(seed=1, **options):
    torch.manual_seed(seed)
    return TransformerModelBase.build_model(to_transformer_config(small_config(**options)), TASK)


@pytest.mark.parametrize("name, sizes", PRESETS)
def test_presets_have_their_sizes(name, sizes):
    config = MODEL_DATACLASS_REGISTRY[name]()
    assert {option: getattr(config, option) for option in sizes} == sizes
    assert ARCH_MODEL_REGISTRY[name].config_class is type(config)


def test_every_option_of_fairseqs_transformer_is_there():
    stock, ours = argparse.ArgumentParser(), argparse.ArgumentParser()
    ARCH_MODEL_REGISTRY["transformer"].add_args(stock)
    DepthAdaptiveTransformerModel.add_args(ours)
    missing = set(stock._option_string_actions) - set(ours._option_string_actions)
    assert missing == set()


@pytest.mark.parametrize("name, _", PRESETS)
def test_a_flag_sets_its_option_whatever_the_preset(name, _):
    parser = argparse.ArgumentParser()
    ARCH_MODEL_REGISTRY[name].add_args(parser)
    flags = ["--share-exit-classifiers", "--share-all-embeddings", "--decoder-normalize-before"]
    parsed = parser.parse_args(flags)
    assert parsed.share_exit_classifiers and parsed.share_all_embeddings and parsed.decoder_normalize_before


def test_flat_and_nested_defaults_agree():
    nested = to_transformer_config(FlatTransformerConfig())
    reference = TransformerConfig()
    for part in ("encoder", "decoder", "quant_noise"):
        assert vars(getattr(nested, part)) == vars(getattr(reference, part))
    assert {k: v for k, v in vars(nested).items() if k in vars(reference)} == vars(reference)


@pytest.mark.parametrize("shared, classifiers", [(False, 3), (True, 1)])
def test_classifiers_are_one_a_exit_or_one_for_all(shared, classifiers):
    decoder = small_model(DICTIONARY, share_exit_classifiers=shared).decoder
    assert len(decoder.exit_classifiers) == classifiers
    assert decoder.num_exits == 3
    assert len({id(decoder.exit_classifier(n).projection.weight) for n in (1, 2, 3)}) == classifiers
    for outside in (0, 4):
        with pytest.raises(IndexError):
            decoder.exit_classifier(outside)


def test_pre_norm_exits_have_a_final_norm_of_their_own():
    untied = small_model(DICTIONARY, decoder_normalize_before=True).decoder
    assert len({id(c.layer_norm) for c in untied.exit_classifiers}) == 3
    without = small_model(DICTIONARY, decoder_normalize_before=True, no_decoder_final_norm=True).decoder
    assert all(c.layer_norm is None for c in without.exit_classifiers)


def test_shared_embeddings_are_the_classifiers_weight():
    for option in ("share_decoder_input_output_embed", "share_all_embeddings"):
        decoder = small_model(DICTIONARY, share_exit_classifiers=True, **{option: True}).decoder
        assert decoder.exit_classifier(2).projection.weight is decoder.embed_tokens.weight


@pytest.mark.parametrize(
    "options, hint",
    [
        (dict(share_decoder_input_output_embed=True), "--share-exit-classifiers"),
        (dict(share_all_embeddings=True), "--share-exit-classifiers"),
        (dict(decoder_layerdrop=0.1), "--decoder-layerdrop"),
        (dict(decoder_layers_to_keep="0,2"), "--decoder-layers-to-keep"),
        (dict(adaptive_softmax_cutoff=[5, 10]), "--adaptive-softmax-cutoff"),
        (dict(base_layers=1), "--base-layers"),
        (dict(decoder_layers=0), "--decoder-layers"),
    ],
)
def test_options_that_exits_cannot_honour_are_refused(options, hint):
    with pytest.raises(DepthAdaptiveError, match=hint):
        small_model(DICTIONARY, **options)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(decoder_normalize_before=True),
        dict(decoder_output_dim=10),
        dict(encoder_embed_dim=24, decoder_learned_pos=True),
    ],
)
def test_stock_checkpoint_starts_every_exit(options, shared):
    stock = stock_model(**options).eval()
    model = small_model(DICTIONARY, share_exit_classifiers=shared, **options).eval()
    model.load_state_dict(stock.state_dict())
    sample = random_sample(DICTIONARY, [(3, 4), (5, 2)])["net_input"]
    expected, got = stock(**sample)[0], model(**sample)[0]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    first = model.decoder.exit_classifier(1).projection.weight
    assert torch.equal(first, stock.decoder.output_projection.weight)


def test_stock_checkpoint_with_shared_embeddings_starts_untied_exits():
    stock = TransformerModelBase.build_model(
        to_transformer_config(small_config(share_decoder_input_output_embed=True, share_exit_classifiers=True)), TASK
    )
    model = small_model(DICTIONARY)
    model.load_state_dict(stock.state_dict())
    for n in (1, 2, 3):
        assert torch.equal(model.decoder.exit_classifier(n).projection.weight, stock.decoder.embed_tokens.weight)


def test_own_checkpoint_reloads_exactly():
    for options in ({}, dict(share_exit_classifiers=True, share_all_embeddings=True), dict(decoder_normalize_before=True)):
        model = small_model(DICTIONARY, seed=3, **options)
        other = small_model(DICTIONARY, seed=4, **options)
        other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
        sample = random_sample(DICTIONARY, [(3, 4), (5, 2)])["net_input"]
        for mine, theirs in zip(*(m.eval()(**sample, features_only=True)[1]["inner_states"] for m in (model, other))):
            assert torch.equal(mine, theirs)
        for n in (1, 2, 3):
            mine, theirs = (m.decoder.exit_classifier(n).state_dict() for m in (model, other))
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_checkpoint_of_other_sizes_does_not_load():
    with pytest.raises(RuntimeError, match="size mismatch"):
        small_model(DICTIONARY).load_state_dict(stock_model(decoder_ffn_embed_dim=8).state_dict())

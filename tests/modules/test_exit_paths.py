"""Passes along given exits: each state equals that of incremental decoding forced along the same exits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.inference.packed_weights import packed_weights
from depth_adaptive_fairseq.inference.torch_backend import TorchDecoder
from depth_adaptive_fairseq.modules.exit_paths import run_exit_paths
from tests.modules.double_precision import double_attention
from tests.small_models import random_sample, small_dictionary, small_model

DICTIONARY = small_dictionary(8)
OPTIONS = {
    "post-norm": {},
    "pre-norm": {"decoder_normalize_before": True, "encoder_normalize_before": True},
    "narrow decoder": {"decoder_embed_dim": 12, "decoder_output_dim": 10, "decoder_ffn_embed_dim": 20},
    "pre-norm, wide decoder": {"decoder_embed_dim": 20, "decoder_normalize_before": True, "layernorm_embedding": True},
    "cross-self-attention": {"cross_self_attention": True, "no_cross_attention": True},
    "both attentions": {"cross_self_attention": True},
    "pre-norm, no cross-attention": {"no_cross_attention": True, "decoder_normalize_before": True},
    "learned positions": {"decoder_learned_pos": True, "no_scale_embedding": True},
}
lengths = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3)


def forced_decoding(model, encoder_out, prev_output_tokens, exits):
    """Decode *prev_output_tokens*, ``(batch, tgt_len)``, token by token along *exits*, of the same shape.

    Returns:
        the states behind block 1 .. N, copied ones included, each ``(batch, tgt_len, width)``.
    """
    decoder = TorchDecoder(
        model.decoder,
        packed_weights(model.decoder),
        encoder_out["encoder_out"][0].transpose(0, 1),
        encoder_out["encoder_padding_mask"][0],
        rows_per_sentence=1,
    )
    states = [[] for _ in model.decoder.layers]
    for step in range(prev_output_tokens.size(1)):
        hidden = decoder.begin_step(prev_output_tokens[:, step])
        for n in range(1, len(states) + 1):
            rows = exits[:, step].ge(n).nonzero().flatten()
            if len(rows) > 0:
                hidden = hidden.index_copy(0, rows, decoder.run_block(n, hidden[rows], rows))
            leaving = exits[:, step].eq(n).nonzero().flatten()
            if len(leaving) > 0:
                decoder.leave(n, hidden[leaving], leaving)
            states[n - 1].append(hidden)
    return [torch.stack(each, dim=1) for each in states]


def forward_states(model, sample, exits):
    """The states of the training pass, each ``(batch, M, tgt_len, width)``, and what the encoder gave for it."""
    inputs = sample["net_input"]
    encoder_out = model.encoder(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
    return run_exit_paths(model.decoder, inputs["prev_output_tokens"], encoder_out, exits), encoder_out


def random_exits(sample, paths, blocks, seed):
    batch, length = sample["target"].shape
    return torch.randint(1, blocks + 1, (batch, paths, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(blocks=st.integers(1, 5), paths=st.integers(1, 3), lengths=lengths, seed=st.integers(0, 10**6))
def test_states_equal_incremental_decoding(name, blocks, paths, lengths, seed):
    model = small_model(DICTIONARY, seed, encoder_layers=1, decoder_layers=blocks, **OPTIONS[name]).double().eval()
    sample = random_sample(DICTIONARY, lengths, seed)
    exits = random_exits(sample, paths, blocks, seed)
    states, encoder_out = forward_states(model, sample, exits)
    real = sample["target"].ne(DICTIONARY.pad())
    for path in range(paths):
        expected = forced_decoding(model, encoder_out, sample["net_input"]["prev_output_tokens"], exits[:, path])
        for n in range(blocks):
            torch.testing.assert_close(states[n][:, path][real], expected[n][real], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
@double_attention()
def test_without_early_exits_it_is_fairseqs_own_decoder(name):
    model = small_model(DICTIONARY, 3, **OPTIONS[name]).double().eval()
    sample = random_sample(DICTIONARY, [(4, 3), (2, 6), (1, 1)], 3)
    exits = torch.full((3, 2, sample["target"].size(1)), model.decoder.num_exits)
    states, encoder_out = forward_states(model, sample, exits)
    _, extra = model.decoder(sample["net_input"]["prev_output_tokens"], encoder_out=encoder_out)
    real = sample["target"].ne(DICTIONARY.pad())
    for found, expected in zip(states, extra["inner_states"][1:]):
        for path in range(2):
            torch.testing.assert_close(found[:, path][real], expected.transpose(0, 1)[real], rtol=1e-8, atol=1e-10)


@torch.no_grad()
def test_a_path_does_not_see_the_others():
    model = small_model(DICTIONARY, 1).double().eval()
    sample = random_sample(DICTIONARY, [(4, 3), (2, 5)], 1)
    exits = random_exits(sample, 4, 3, 1)
    together = forward_states(model, sample, exits)[0][-1]
    for path in range(4):
        alone = forward_states(model, sample, exits[:, path : path + 1])[0][-1]
        torch.testing.assert_close(alone[:, 0], together[:, path])
    assert not torch.allclose(together[:, 0], together[:, 1])


@torch.no_grad()
@pytest.mark.parametrize("paths", [1, 3])
def test_paths_share_the_source_and_the_first_two_blocks(paths):
    """Counted in positions that go through each projection."""
    model = small_model(DICTIONARY, 1, decoder_layers=4)
    sample = random_sample(DICTIONARY, [(4, 3), (2, 5)], 1)
    seen = {}

    def count(name):
        def hook(module, arguments):
            seen.setdefault(name, []).append(arguments[0].numel() // arguments[0].size(-1))

        return hook

    model.encoder.layers[0].register_forward_pre_hook(count("encoder"))
    for n, layer in enumerate(model.decoder.layers, start=1):
        layer.encoder_attn.k_proj.register_forward_pre_hook(count(f"source keys {n}"))
        layer.encoder_attn.v_proj.register_forward_pre_hook(count(f"source values {n}"))
        layer.fc1.register_forward_pre_hook(count(f"block {n}"))
    model(**sample["net_input"], exit_paths=random_exits(sample, paths, 4, 1))

    source, target = sample["net_input"]["src_tokens"].numel(), sample["target"].numel()
    assert seen["encoder"] == [source]
    for n in range(1, 5):
        assert seen[f"source keys {n}"] == seen[f"source values {n}"] == [source]
        assert seen[f"block {n}"] == [target * (1 if n <= 2 else paths)]


@torch.no_grad()
@pytest.mark.parametrize("option", ["dropout", "attention_dropout", "activation_dropout"])
def test_training_drops_out_what_fairseq_does(option):
    model = small_model(DICTIONARY, 1, **{option: 0.3})
    sample = random_sample(DICTIONARY, [(4, 3), (2, 5)], 1)
    exits = random_exits(sample, 1, 3, 1)

    def decoder_states():
        inputs = sample["net_input"]
        with torch.random.fork_rng():
            encoder_out = model.encoder.eval()(inputs["src_tokens"], src_lengths=inputs["src_lengths"])
        return run_exit_paths(model.decoder, inputs["prev_output_tokens"], encoder_out, exits)[-1]

    model.decoder.eval()
    expected = decoder_states()
    assert torch.equal(decoder_states(), expected)
    model.decoder.train()
    assert not torch.allclose(decoder_states(), expected)

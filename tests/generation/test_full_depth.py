"""``full`` gives what fairseq's own generator gives, whatever fairseq's options."""

import pytest
import torch
from fairseq.models import FairseqLanguageModel
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.token_generation_constraints import pack_constraints

from tests.models_for_tests import (
    EOS,
    FIRST_WORD,
    ModelOptions,
    make_dictionary,
    make_generator,
    make_model,
    make_prefixes,
    make_sample,
    make_stock_generator,
    make_stock_model,
    random_sources,
)

ARCHITECTURES = {
    "post-norm": ModelOptions(seed=1),
    "pre-norm": ModelOptions(seed=2, encoder_normalize_before=True, decoder_normalize_before=True),
    "widths": ModelOptions(seed=3, encoder_embed_dim=8, decoder_embed_dim=12, decoder_output_dim=10),
    "tied": ModelOptions(seed=4, share_exit_classifiers=True, share_decoder_input_output_embed=True),
    "learned positions": ModelOptions(seed=5, decoder_learned_pos=True, layernorm_embedding=True, activation_fn="gelu"),
    "cross+self": ModelOptions(seed=6, cross_self_attention=True, no_cross_attention=True),
    "cross+self, pre-norm": ModelOptions(seed=7, cross_self_attention=True, decoder_normalize_before=True),
    "no positions": ModelOptions(seed=8, no_token_positional_embeddings=True, no_scale_embedding=True),
}

SEARCHES = {
    "greedy": dict(beam=1),
    "beam": dict(beam=5),
    "more than the vocabulary": dict(beam=40),
    "length penalty": dict(beam=4, lenpen=0.3),
    "unnormalised": dict(beam=4, unnormalized=True),
    "lengths": dict(beam=3, min_len=5, max_len_a=0.5, max_len_b=4),
    "unknown words": dict(beam=3, unkpen=-3.0),
    "temperature": dict(beam=4, temperature=1.7),
    "sampling": dict(beam=3, sampling=True),
    "sampling, top k": dict(beam=3, sampling=True, sampling_topk=4),
    "sampling, top p": dict(beam=3, sampling=True, sampling_topp=0.7, temperature=1.3),
    "groups": dict(beam=4, diverse_beam_groups=2, diverse_beam_strength=0.7),
    "siblings": dict(beam=4, diversity_rate=0.3),
    "source's length": dict(beam=3, match_source_len=True),
    "no repetition": dict(beam=3, no_repeat_ngram_size=2),
}


def assert_same(found, expected):
    """Equal n-best lists: tokens, scores and positional scores."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert [h["tokens"].tolist() for h in ours] == [h["tokens"].tolist() for h in theirs]
        for our, their in zip(ours, theirs):
            assert float(our["score"]) == pytest.approx(float(their["score"]), abs=1e-4)
            torch.testing.assert_close(our["positional_scores"], their["positional_scores"], atol=1e-4, rtol=0)


def both(models, stock_models, sample=None, *, extra=None, call=None, **options):
    """The n-best lists of the project's and of fairseq's generator."""
    sample = sample or make_sample(random_sources(11, [7, 1, 4, 5], vocabulary=24))
    options = {"max_len_b": 9, **options}
    results = []
    ours, stock = (make_generator, models, {"exit_policy": "full"}), (make_stock_generator, stock_models, {})
    for make, members, policy in (ours, stock):
        generator = make(members, extra=dict(extra or {}), **options, **policy)
        torch.manual_seed(3)
        results.append(generator.generate(members, sample, **(call or {})))
    return results


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("padding", ["left", "right"])
def test_architectures(architecture, padding):
    model = make_model(ARCHITECTURES[architecture])
    sample = make_sample(random_sources(12, [6, 2, 7]), padding)
    found, expected = both([model], [model], sample, beam=4)
    assert_same(found, expected)
    for hypothesis in found[0]:
        assert hypothesis["exits"].tolist() == [3] * len(hypothesis["tokens"])


@pytest.mark.parametrize("search", SEARCHES)
def test_searches(search):
    model = make_model(ARCHITECTURES["pre-norm"])
    assert_same(*both([model], [model], **SEARCHES[search]))


@pytest.mark.parametrize("architecture", ["post-norm", "pre-norm", "widths", "tied"])
@pytest.mark.parametrize("search", ["beam", "sampling, top k", "groups"])
def test_warm_start_from_a_stock_model(architecture, search):
    stock = make_stock_model(ARCHITECTURES[architecture])
    model = make_model(ModelOptions(**{**vars(ARCHITECTURES[architecture]), "seed": 99}))
    model.load_state_dict(stock.state_dict())
    assert_same(*both([model], [stock], **SEARCHES[search]))


def test_single_precision():
    """What users run: scores are equal to 1e-4 there too."""
    stock = make_stock_model(ARCHITECTURES["widths"], torch.float32)
    model = make_model(ARCHITECTURES["widths"], torch.float32)
    model.load_state_dict(stock.state_dict())
    assert_same(*both([model], [stock], beam=5))


def test_ensembles():
    models = [make_model(ARCHITECTURES[name]) for name in ("pre-norm", "widths", "tied")]
    assert_same(*both(models, models, beam=4, temperature=0.8))


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("search", ["beam", "sampling", "no repetition"])
def test_forced_prefixes(beam, search):
    model = make_model(ARCHITECTURES["post-norm"])
    prefixes = make_prefixes([[5, 6, 7], [], [8, EOS], [9]])
    assert_same(*both([model], [model], **{**SEARCHES[search], "beam": beam}, call={"prefix_tokens": prefixes}))


def test_another_first_token():
    model = make_model(ARCHITECTURES["post-norm"])
    found, expected = both([model], [model], beam=3, call={"bos_token": FIRST_WORD})
    assert_same(found, expected)
    with pytest.raises(AssertionError):
        assert_same(found, both([model], [model], beam=3)[1])


def test_allowed_tokens():
    model = make_model(ARCHITECTURES["pre-norm"])

    def allowed(sentence, prefix):
        return [EOS] if len(prefix) > 5 else [FIRST_WORD + sentence, FIRST_WORD + 5 + len(prefix), EOS]

    found, expected = both([model], [model], beam=3, prefix_allowed_tokens_fn=allowed, min_len=2)
    assert_same(found, expected)
    assert all(set(h["tokens"].tolist()) <= {EOS, 5, *range(10, 24)} for h in found[1])


@pytest.mark.parametrize("order", ["ordered", "unordered"])
def test_lexical_constraints(order):
    model = make_model(ARCHITECTURES["post-norm"])
    wanted = [[[10, 11], [14]], [], [[12]], [[9], [20]]]
    constraints = pack_constraints([[torch.tensor(phrase) for phrase in phrases] for phrases in wanted])
    found, expected = both([model], [model], beam=4, constraints=order, call={"constraints": constraints})
    assert_same(found, expected)
    assert {9, 20} <= set(found[3][0]["tokens"].tolist())


class _LastTokenModel(FairseqLanguageModel):
    """A language model that looks at the last token only."""

    class _Decoder(FairseqDecoder):
        def __init__(self, dictionary):
            super().__init__(dictionary)
            self.table = torch.nn.Embedding(len(dictionary), len(dictionary))

        def forward(self, prev_output_tokens, **unused):
            return 2 * self.table(prev_output_tokens), None

        def max_positions(self):
            return 100

    def __init__(self, dictionary):
        super().__init__(self._Decoder(dictionary))


def test_language_model_fusion():
    torch.manual_seed(1)
    fusion = {"lm_model": _LastTokenModel(make_dictionary(24)), "lm_weight": 0.6}
    model = make_model(ARCHITECTURES["pre-norm"])
    found, expected = both([model], [model], beam=4, extra=fusion)
    assert_same(found, expected)
    with pytest.raises(AssertionError):
        assert_same(found, both([model], [model], beam=4)[1])

"""What hypothesis draws: small models, batches, exit policies and search options."""

from dataclasses import dataclass, replace
from typing import Dict, List, Optional

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.models_for_tests import EOS, FIRST_WORD, UNK, ModelOptions


def deterministic(examples: int) -> settings:
    """The same *examples* in every run, however slow the machine."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def model_options(draw, decoder_layers: Optional[int] = None, vocabulary: Optional[int] = None) -> ModelOptions:
    """Sizes and features of a model, within what can be combined."""
    flag = st.booleans()
    width = draw(st.sampled_from([8, 12, 16]))
    cross_self_attention = draw(st.sampled_from([False, False, True]))
    shared_exits = draw(flag)
    shared_embedding = shared_exits and draw(flag)
    return ModelOptions(
        seed=draw(st.integers(0, 10_000)),
        vocabulary=vocabulary or draw(st.integers(20, 40)),
        encoder_layers=draw(st.integers(1, 2)),
        decoder_layers=decoder_layers or draw(st.sampled_from([2, 3, 4])),
        # cross_self_attention's keys come from both sides, so they are equally wide
        encoder_embed_dim=width if cross_self_attention else draw(st.sampled_from([8, 16])),
        decoder_embed_dim=width,
        decoder_output_dim=None if shared_embedding else draw(st.sampled_from([None, None, 10])),
        decoder_ffn_embed_dim=draw(st.sampled_from([8, 20])),
        decoder_attention_heads=draw(st.sampled_from([1, 2, 4])),
        encoder_normalize_before=draw(flag),
        decoder_normalize_before=draw(flag),
        no_decoder_final_norm=draw(st.sampled_from([False, False, False, True])),
        share_exit_classifiers=shared_exits,
        share_decoder_input_output_embed=shared_embedding,
        decoder_learned_pos=draw(flag),
        no_token_positional_embeddings=draw(st.sampled_from([False, False, True])),
        no_scale_embedding=draw(flag),
        layernorm_embedding=draw(flag),
        cross_self_attention=cross_self_attention,
        no_cross_attention=cross_self_attention and draw(flag),
        activation_fn=draw(st.sampled_from(["relu", "relu", "gelu", "gelu_accurate", "tanh", "relu_squared"])),
    )


HALTING = ("sequence", "multinomial", "geometric")
ONE_THRESHOLD = ("entropy", "margin", "saturation")
A_THRESHOLD_EACH = ("confidence", "geometric")


@st.composite
def exit_options(draw, num_exits: int, policies=("full", "fixed", "uniform", "confidence")) -> Dict:
    """``exit_policy`` and what belongs to it, as the generator takes them.

    In the place of thresholds there are ``quantiles`` of the model's own statistics, one for all exits or, where the
    policy takes them, one for each but the last: thresholds drawn blindly would let nearly all tokens leave at the same
    exit.
    """
    policy = draw(st.sampled_from(policies))
    options = {"exit_policy": policy}
    if policy == "fixed":
        options["exit_at"] = draw(st.integers(1, num_exits))
    elif policy == "uniform":
        options["exit_seed"] = draw(st.integers(-5, 1000))
    elif policy == "patience":
        options["exit_patience"] = draw(st.sampled_from([2, 2, 2, 3, 1]))
    elif policy in (*ONE_THRESHOLD, *A_THRESHOLD_EACH):
        quantile = st.sampled_from([0.5, 0.7, 0.3, 0.8])
        one_for_all = policy in ONE_THRESHOLD or draw(st.booleans())
        options["quantiles"] = draw(
            quantile.map(lambda one: [one])
            if one_for_all
            else st.lists(quantile, min_size=num_exits - 1, max_size=num_exits - 1)
        )
    return options


@st.composite
def suited(draw, models: List[ModelOptions], policy: str) -> List[ModelOptions]:
    """The same models, with what *policy* needs for its decisions to differ.

    That is a halting classifier, which ``auto`` follows, enough blocks to compare one with the next, or exits that predict
    the same now and then.
    """
    if policy in ("saturation", "patience"):
        blocks = draw(st.integers(3, 6))
        models = [replace(model, decoder_layers=blocks) for model in models]
    if policy == "patience":
        models = [replace(model, share_exit_classifiers=True) for model in models]
    kind = draw(st.sampled_from(HALTING)) if policy == "auto" else policy
    if kind in HALTING:
        per_block = st.booleans() if kind == "geometric" else st.just(False)
        models = [replace(model, halting=kind, halting_per_block=draw(per_block)) for model in models]
    return models


@st.composite
def source_sentences(draw, vocabulary: int, most: int = 3) -> List[List[int]]:
    """One to *most* sentences, end of sentence included; short, of different lengths, with unknown words, or empty."""
    word = st.sampled_from([UNK, *range(FIRST_WORD, vocabulary)])
    sentence = st.lists(word, min_size=0, max_size=6).map(lambda words: words + [EOS])
    return draw(st.lists(sentence, min_size=1, max_size=most))


@dataclass(frozen=True)
class Case:
    """One comparison: an ensemble, a batch and all options.

    Attributes:
        search: fairseq's options of generation.
        prefixes: forced tokens of each sentence, or None.
    """

    models: List[ModelOptions]
    sources: List[List[int]]
    padding: str
    exits: Dict
    search: Dict
    prefixes: Optional[List[List[int]]] = None


@st.composite
def cases(draw, members: int = 1, prefixes: bool = False, policies=("full", "fixed", "uniform", "confidence")) -> Case:
    """Batches of everything that the slow search knows."""
    first = draw(model_options())
    others = [
        draw(model_options(decoder_layers=first.decoder_layers, vocabulary=first.vocabulary))
        for _ in range(members - 1)
    ]
    sources = draw(source_sentences(first.vocabulary))
    max_len = draw(st.integers(3, 6))
    search = {
        "beam": draw(st.integers(1, 6)),
        "max_len_b": max_len,
        "min_len": draw(st.integers(0, 3)),
        "lenpen": draw(st.sampled_from([1.0, 1.0, 0.0, 0.5, 2.0])),
        "unnormalized": draw(st.sampled_from([False, False, True])),
        "temperature": draw(st.sampled_from([1.0, 1.0, 0.7, 1.5])),
        "unkpen": draw(st.sampled_from([0.0, 0.0, 1.5, -1.5])),
    }
    padding = draw(st.sampled_from(["left", "right", "mixed"]))
    exits = draw(exit_options(first.decoder_layers, policies))
    models = draw(suited([first, *others], exits["exit_policy"]))
    case = Case(models, sources, padding, exits, search)
    if not prefixes:
        return case
    word = st.sampled_from([UNK, *range(FIRST_WORD, first.vocabulary)])
    forced = []
    for _ in sources:
        words = draw(st.lists(word, max_size=3))
        ends = draw(st.sampled_from([False, False, True]))
        forced.append(words + [EOS] if ends and len(words) < max_len else words)
    if not any(forced):
        forced[0] = [FIRST_WORD]
    return replace(case, prefixes=forced)

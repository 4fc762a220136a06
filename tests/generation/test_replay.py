"""Whatever the search, a hypothesis' exits and scores are those of the slow decoder on its tokens."""

from dataclasses import replace

import pytest
import torch
from fairseq.token_generation_constraints import pack_constraints

from tests.generation.against_slow import slow_policy
from tests.generation.strategies import HALTING
from tests.models_for_tests import EOS, UNK, ModelOptions, make_generator, make_model, make_sample, random_sources
from tests.reference.slow_decoder import SlowDecoder

MODELS = [
    ModelOptions(seed=41, decoder_layers=4, decoder_normalize_before=True),
    ModelOptions(seed=42, decoder_layers=4),
]
SOURCES = random_sources(51, [5, 1, 7])
EXITS = {
    "uniform": {"exit_policy": "uniform", "exit_seed": 8},
    "confidence": {"exit_policy": "confidence", "exit_thresholds": [0.5, 0.4, 0.3]},
    "saturation": {"exit_policy": "saturation", "exit_saturation": 0.85},
    "patience": {"exit_policy": "patience", "exit_patience": 2},
    "sequence": {"exit_policy": "sequence"},
    "multinomial": {"exit_policy": "multinomial"},
    "geometric": {"exit_policy": "geometric", "exit_thresholds": [0.999, 0.99, 0.9]},
}

# Searches whose scores are the model's own ...
PLAIN = {
    "sampling": dict(sampling=True, beam=4),
    "sampling, top k": dict(sampling=True, sampling_topk=5, beam=3),
    "sampling, top p": dict(sampling=True, sampling_topp=0.8, beam=3, temperature=1.4),
    "no repetition": dict(beam=3, no_repeat_ngram_size=2),
    "allowed tokens": dict(beam=3, prefix_allowed_tokens_fn=lambda sentence, prefix: [EOS, *range(5 + sentence, 15)]),
    "constraints": dict(beam=4, constraints="ordered"),
    "longer than the first buffers": dict(beam=2, max_len_b=60, min_len=50),
}
# ... and those that change them on the way.
REWRITING = {
    "groups": dict(beam=4, diverse_beam_groups=2),
    "siblings": dict(beam=4, diversity_rate=0.5),
    "source's length": dict(beam=3, match_source_len=True),
    "unknown words wanted": dict(beam=3, unkpen=-4.0),
}


def replay(models, source, hypothesis, exits, temperature):
    """The slow decoder's exits and scores on a hypothesis' tokens."""
    policy = slow_policy(exits, models[0], source)
    decoder = SlowDecoder(models, source, policy, temperature)
    tokens, seen, scores = hypothesis["tokens"].tolist(), [], []
    with torch.no_grad():
        for step, token in enumerate(tokens):
            prediction = decoder.predict([EOS] + tokens[:step], seen)
            seen.append(prediction.exit)
            scores.append(float(prediction.log_probabilities[token]))
    assert policy.margin > 1e-6, "a near-tie: choose another seed"
    return seen, scores


@pytest.mark.parametrize(
    "search, members, policy",
    [
        (search, members, policy)
        for policy in ("uniform", "confidence")
        for search, members in [
            *((search, 1) for search in (*PLAIN, *REWRITING)),
            *((search, 2) for search in ("sampling", "groups", "constraints")),
        ]
    ]
    + [
        (search, 1, policy)
        for policy in ("saturation", "patience", "sequence", "multinomial", "geometric")
        for search in ("sampling", "groups", "constraints")
    ],
)
def test_replay(search, members, policy):
    needs = {"halting": policy} if policy in HALTING else {"share_exit_classifiers": policy == "patience"}
    models = [make_model(replace(options, **needs)) for options in MODELS[:members]]
    options = {"max_len_b": 8, **{**PLAIN, **REWRITING}[search]}
    call = {}
    if search == "constraints":
        phrases = [[[10, 11]], [], [[12], [15]]]
        call["constraints"] = pack_constraints([[torch.tensor(phrase) for phrase in each] for each in phrases])
    torch.manual_seed(2)
    found = make_generator(models, **options, **EXITS[policy]).generate(models, make_sample(SOURCES), **call)
    long = search == "longer than the first buffers"
    for source, hypotheses in list(zip(SOURCES, found))[: 1 if long else None]:
        assert hypotheses
        for hypothesis in hypotheses[: 1 if long else 2]:
            exits, scores = replay(models, source, hypothesis, EXITS[policy], options.get("temperature", 1.0))
            assert hypothesis["exits"].tolist() == exits
            if search in PLAIN:
                assert hypothesis["positional_scores"].tolist() == pytest.approx(scores, abs=5e-5)
    if long:
        assert min(len(sentence[0]["tokens"]) for sentence in found) > 50
    if search == "unknown words wanted":
        assert any(UNK in sentence[0]["tokens"] for sentence in found)

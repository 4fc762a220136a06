"""Work that early exits save is really not done: how many vectors each part of a decoder is given."""

from collections import Counter

import pytest

from depth_adaptive_fairseq.inference.packed_weights import packed_weights
from tests.generation.test_batches import MODELS, POLICIES
from tests.models_for_tests import make_generator, make_model, make_sample, random_sources

SOURCES = random_sources(61, [5, 5, 5, 5, 5, 5])
PARTS = ("qkv", "keys_values", "cross_query", "cross_keys_values", "feed_forward")


def count_work(model, monkeypatch, **options):
    """Decode; returns the n-best lists and how many vectors each part of each block, and each classifier, was given."""
    work = Counter()
    weights = packed_weights(model.decoder)

    def watched(function, key):
        class Watched:
            def __call__(self, x):
                work[key] += x.numel() // x.size(-1)
                return function(x)

            def outputs_from(self, x, first):
                return function.outputs_from(x, first)

        return Watched()

    for number, block in enumerate(weights.blocks, start=1):
        for part in PARTS:
            monkeypatch.setattr(block, part, watched(getattr(block, part), (number, part)))
    classifiers = [watched(each, (n, "classifier")) for n, each in enumerate(weights.classifiers, start=1)]
    monkeypatch.setattr(weights, "classifiers", classifiers)
    generator = make_generator([model], **options)
    found = generator.generate([model], make_sample(SOURCES))
    assert generator.model.work.classifier_rows == sum(rows for (_, part), rows in work.items() if part == "classifier")
    return found, work


@pytest.mark.parametrize("exit_at", [1, 2, 4])
def test_blocks_above_all_exits_do_nothing(exit_at, monkeypatch):
    options = dict(beam=3, max_len_b=7, exit_policy="fixed", exit_at=exit_at)
    found, work = count_work(make_model(MODELS["pre-norm"]), monkeypatch, **options)
    assert {block for block, _ in work} == set(range(1, exit_at + 1))
    for block in range(1, exit_at + 1):
        assert work[block, "cross_keys_values"] == 6 * 5  # once a sentence
        assert work[block, "keys_values"] == 0  # nothing is copied from below
        assert (work[block, "classifier"] > 0) == (block == exit_at)


def test_equal_rows_of_the_first_step_are_decoded_once(monkeypatch):
    _, work = count_work(make_model(MODELS["pre-norm"]), monkeypatch, beam=3, max_len_b=0, min_len=0, exit_policy="full")
    assert work[1, "qkv"] == work[4, "classifier"] == len(SOURCES)


@pytest.mark.parametrize("policy", ["uniform", "confidence", "confidence of each exit"])
@pytest.mark.parametrize("architecture", ["pre-norm", "post-norm"])
def test_each_token_is_paid_for_up_to_its_exit(architecture, policy, monkeypatch):
    """With a beam of one the hypotheses show all that was computed."""
    found, work = count_work(make_model(MODELS[architecture]), monkeypatch, beam=1, max_len_b=6, **POLICIES[policy])
    sentences = [hypotheses[0]["exits"].tolist() for hypotheses in found]
    assert len({exit_index for exits in sentences for exit_index in exits}) > 1
    for block in range(1, 5):
        reached = [[exit_index >= block for exit_index in exits] for exits in sentences]
        for part in ("qkv", "cross_query", "feed_forward"):
            assert work[block, part] == sum(map(sum, reached))
        # A sentence's cross-attention keys are built once, if any of its tokens gets there (algorithm 2).
        assert work[block, "cross_keys_values"] == 5 * sum(map(any, reached))
        # Copied states are projected when a later token comes by, so those after the last one never are.
        passed = [len(row) - row[::-1].index(True) - sum(row) if any(row) else 0 for row in reached]
        assert work[block, "keys_values"] == sum(passed)
        # Confidence looks at the prediction of every exit that a token reaches, other policies at the last one only.
        left = sum(exit_index == block for exits in sentences for exit_index in exits)
        assert work[block, "classifier"] == (left if policy == "uniform" else sum(map(sum, reached)))

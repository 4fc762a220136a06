"""Work that early exits save is really not done: what the blocks' projections are called with."""

from collections import Counter

import pytest

from tests.generation.test_batches import MODELS, POLICIES
from tests.models_for_tests import make_generator, make_model, make_sample, random_sources

SOURCES = random_sources(61, [5, 5, 5, 5, 5, 5])
WATCHED = ("self_attn.k_proj", "self_attn.v_proj", "encoder_attn.k_proj", "encoder_attn.v_proj", "fc1")


def count_work(model, **options):
    """Decode; returns the n-best lists and how many vectors each block's projections were given."""
    work = Counter()

    def watch(block, name):
        def note(module, inputs, output):
            work[block, name] += inputs[0].numel() // inputs[0].size(-1)

        return model.decoder.layers[block - 1].get_submodule(name).register_forward_hook(note)

    hooks = [watch(block, name) for block in range(1, len(model.decoder.layers) + 1) for name in WATCHED]
    found = make_generator([model], **options).generate([model], make_sample(SOURCES))
    for hook in hooks:
        hook.remove()
    return found, work


@pytest.mark.parametrize("exit_at", [1, 2, 4])
def test_blocks_above_all_exits_do_nothing(exit_at):
    found, work = count_work(make_model(MODELS["pre-norm"]), beam=3, max_len_b=7, exit_policy="fixed", exit_at=exit_at)
    assert {block for block, _ in work} == set(range(1, exit_at + 1))
    for block in range(1, exit_at + 1):
        assert work[block, "encoder_attn.k_proj"] == work[block, "encoder_attn.v_proj"] == 6 * 5  # once a sentence


@pytest.mark.parametrize("policy", ["uniform", "confidence", "confidence of each exit"])
@pytest.mark.parametrize("architecture", ["pre-norm", "post-norm"])
def test_each_token_is_paid_for_up_to_its_exit(architecture, policy):
    """With a beam of one the hypotheses show all that was computed."""
    found, work = count_work(make_model(MODELS[architecture]), beam=1, max_len_b=6, **POLICIES[policy])
    sentences = [hypotheses[0]["exits"].tolist() for hypotheses in found]
    assert len({exit_index for exits in sentences for exit_index in exits}) > 1
    for block in range(1, 5):
        reached = [[exit_index >= block for exit_index in exits] for exits in sentences]
        assert work[block, "fc1"] == sum(map(sum, reached))
        # A sentence's cross-attention keys are built once, if any of its tokens gets there (algorithm 2).
        assert work[block, "encoder_attn.k_proj"] == 5 * sum(map(any, reached))
        # Copied states are projected when a later token comes by, so those after the last one never are.
        prefixes = [len(row) - row[::-1].index(True) if any(row) else 0 for row in reached]
        for name in ("self_attn.k_proj", "self_attn.v_proj"):
            assert work[block, name] == sum(prefixes)

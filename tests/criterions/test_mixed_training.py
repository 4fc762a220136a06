"""Mixed training (Eq. 5) against algorithm 2, one path, sentence and token at a time; and what is drawn for it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from depth_adaptive_fairseq.criterions.exit_sampling import draw_exit_paths
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.modules.double_precision import double_attention
from tests.reference import scalar_equations as paper
from tests.reference.slow_decoder import SlowDecoder
from tests.reference.slow_policies import SlowGiven
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(5)
TASK = small_task(DICTIONARY)


def real_tokens(row):
    return row[row.ne(DICTIONARY.pad())].tolist()


def smoothed(log_probabilities, target, epsilon):
    """Label smoothing; logits and log-probabilities differ by a constant only."""
    return paper.smoothed_loss(list(log_probabilities), target, epsilon)


def mixed_loss_by_hand(model, sample, exits, label_smoothing, ignored_prefix):
    """Eq. 5 by decoding every prefix of every path anew.

    Returns:
        the loss, and each exit's summed negative log-likelihood and number of tokens.
    """
    loss, nlls, counts = 0.0, [0.0] * model.decoder.num_exits, [0] * model.decoder.num_exits
    inputs = sample["net_input"]
    for row, (source, previous, target) in enumerate(
        zip(inputs["src_tokens"], inputs["prev_output_tokens"], sample["target"])
    ):
        source, previous, target = real_tokens(source), real_tokens(previous), real_tokens(target)
        paths = []
        for path in exits[row].tolist():
            policy = SlowGiven(lambda prefix, path=path: path[len(prefix) - 1])
            decoder = SlowDecoder([model], source, policy)
            losses = []
            for t in range(ignored_prefix, len(target)):
                predicted = decoder.predict(previous[: t + 1], path[:t])
                losses.append(smoothed(predicted.log_probabilities, target[t], label_smoothing))
                nlls[predicted.exit - 1] -= float(predicted.log_probabilities[target[t]])
                counts[predicted.exit - 1] += 1
            paths.append(losses)
        loss = loss + paper.mixed_loss(paths)
    return loss, nlls, counts


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    paths=st.integers(1, 3),
    label_smoothing=st.sampled_from([0.0, 0.2]),
    ignored_prefix=st.integers(0, 1),
    options=st.fixed_dictionaries(
        {
            "decoder_layers": st.integers(1, 4),
            "decoder_normalize_before": st.booleans(),
            "share_exit_classifiers": st.booleans(),
            "decoder_embed_dim": st.sampled_from([8, 16]),
            "decoder_output_dim": st.sampled_from([None, 10]),
            "cross_self_attention": st.booleans(),
            "no_cross_attention": st.booleans(),
        }
    ),
    lengths=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
)
@double_attention()
def test_loss_and_gradients_equal_the_loop(paths, label_smoothing, ignored_prefix, options, lengths, seed):
    if options["cross_self_attention"]:  # the source as keys of self-attention has to have the decoder's width
        options["decoder_embed_dim"] = 16
    model = small_model(DICTIONARY, seed, encoder_layers=1, **options).double().train()
    model.set_num_updates(7)
    sample = random_sample(DICTIONARY, lengths, seed)
    sample["id"] += 40
    criterion = DepthAdaptiveCrossEntropy(
        TASK, False, label_smoothing, "mixed", paths, ignore_prefix_size=ignored_prefix, seed=5
    )
    loss, sample_size, log = criterion(model, sample)
    exits = draw_exit_paths(sample["id"], sample["target"].size(1), paths, options["decoder_layers"], 5, 7)
    expected, nlls, counts = mixed_loss_by_hand(model, sample, exits, label_smoothing, ignored_prefix)

    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert sample_size == sample["ntokens"]
    assert [int(log[f"tokens_{n + 1}"]) for n in range(len(counts))] == counts
    assert [float(log[f"nll_{n + 1}"]) for n in range(len(nlls))] == pytest.approx(nlls, rel=1e-9)

    names, parameters = zip(*model.named_parameters())
    slow = torch.autograd.grad(expected, parameters, allow_unused=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    for name, parameter, ours, theirs in zip(names, parameters, found, slow):
        ours, theirs = (torch.zeros_like(parameter) if each is None else each for each in (ours, theirs))
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10, msg=lambda text: f"{name}: {text}")


def test_a_block_that_no_token_reaches_has_a_zero_gradient():
    """Distributed training waits for a gradient of every parameter in each step."""
    model = small_model(DICTIONARY, 1, decoder_layers=6).train()
    sample = random_sample(DICTIONARY, [(2, 0)], 1)
    criterion = DepthAdaptiveCrossEntropy(TASK, False, training_mode="mixed", seed=1)
    drawn = int(draw_exit_paths(sample["id"], 1, 1, 6, 1, 0))
    assert drawn < 6  # else this shows nothing
    criterion(model, sample)[0].backward()
    for name, parameter in model.decoder.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith(f"layers.{drawn}."):
            assert not parameter.grad.any(), name


def test_draws_depend_on_seed_update_and_sentence_alone():
    def draw(ids, length=20, paths=3, seed=1, update=10):
        return draw_exit_paths(torch.tensor(ids), length, paths, 6, seed, update)

    base = draw([7, 3, 9])
    assert base.shape == (3, 3, 20)
    assert torch.equal(base, draw([7, 3, 9]))
    assert torch.equal(base[1], draw([3])[0])  # another batch
    assert torch.equal(base[:, :, :12], draw([7, 3, 9], length=12))  # another amount of padding
    assert not torch.equal(base, draw([7, 3, 9], seed=2))
    assert not torch.equal(base, draw([7, 3, 9], update=11))
    assert not torch.equal(base[0], base[1]) and not torch.equal(base[0, 0], base[0, 1])
    # Not a function of a sum either: (seed, update) is not (update, seed).
    assert not torch.equal(draw([7], seed=10, update=1), draw([7], seed=1, update=10))


@pytest.mark.parametrize("num_exits", [1, 2, 6])
def test_draws_are_uniform_and_positions_are_independent(num_exits):
    drawn = draw_exit_paths(torch.arange(400), 10, 2, num_exits, 1, 0)
    counts = torch.bincount(drawn.flatten(), minlength=num_exits + 1)
    assert counts[0] == 0 and len(counts) == num_exits + 1
    expected = drawn.numel() / num_exits
    assert (counts[1:] - expected).abs().max() <= 5 * expected**0.5
    for first, second in ((drawn[..., :-1], drawn[..., 1:]), (drawn[:, 0], drawn[:, 1]), (drawn[:-1], drawn[1:])):
        share = first.eq(second).double().mean().item()
        assert share == pytest.approx(1 / num_exits, abs=5 * (1 / first.numel()) ** 0.5)


def test_a_new_update_draws_new_exits():
    model = small_model(DICTIONARY, 1, decoder_layers=4).train()
    sample = random_sample(DICTIONARY, [(3, 4), (2, 4)], 1)
    criterion = DepthAdaptiveCrossEntropy(TASK, False, training_mode="mixed")
    losses = []
    for update in (1, 1, 2):
        model.set_num_updates(update)
        losses.append(criterion(model, sample)[0].item())
    assert losses[0] == losses[1] != losses[2]


def test_validation_is_aligned():
    model = small_model(DICTIONARY, 1).eval()
    sample = random_sample(DICTIONARY, [(3, 4), (2, 4)], 1)
    mixed = DepthAdaptiveCrossEntropy(TASK, False, 0.1, "mixed", 2)(model, sample)
    aligned = DepthAdaptiveCrossEntropy(TASK, False, 0.1)(model, sample)
    assert torch.equal(mixed[0], aligned[0]) and mixed[1] == aligned[1]
    assert {name: float(value) for name, value in mixed[2].items()} == {
        name: float(value) for name, value in aligned[2].items()
    }


REFUSED = {
    "an exit loss": ({"exit_loss_weight": 0.5}, "--training-mode mixed .*--exit-loss-weight.*--training-mode aligned"),
    "weights": ({"exit_weights": "linear"}, "--training-mode mixed .*--exit-weights linear.*--exit-weights uniform"),
    "no path": ({"exit_paths": 0}, "--exit-paths 0 .*1 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mixed_training_is_refused_with(case):
    options, message = REFUSED[case]
    with pytest.raises(DepthAdaptiveError, match=message):
        DepthAdaptiveCrossEntropy(TASK, False, training_mode="mixed", **options)


def test_mixed_training_is_refused_with_gradient_scaling():
    criterion = DepthAdaptiveCrossEntropy(TASK, False, training_mode="mixed")
    with pytest.raises(DepthAdaptiveError, match="--training-mode mixed .*--gradient-scaling 0.3.*--training-mode aligned"):
        criterion(small_model(DICTIONARY, gradient_scaling=0.3).train(), random_sample(DICTIONARY, [(2, 2)]))

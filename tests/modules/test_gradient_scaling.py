"""Gradient scaling (algorithm 1): each block's and classifier's gradients against factors worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions import exit_loss as exit_loss_module
from depth_adaptive_fairseq.criterions import oracles
from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from depth_adaptive_fairseq.modules.gradient_scaling import exit_gamma, scale_gradient
from tests.modules.double_precision import double_attention
from tests.reference import scalar_equations as paper
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(8)
TASK = small_task(DICTIONARY)


def block_of(name: str) -> int:
    """The block that a parameter's gradient comes through: its own, or the first one for all below."""
    return int(name.split(".")[2]) + 1 if name.startswith("decoder.layers.") else 1


def gradients_by_hand(model, sample, gamma, weighting, exit_loss=None):
    """Algorithm 1 from the gradients that each exit alone sends into an unscaled model.

    An *exit_loss*, a function of log q, sends its own into each state that the halting classifier reads: nothing scales
    them there, and between the blocks what scales the others. The encoder is reached through every block's cross-attention, each time with another factor: each block is given its
    own copy of the encoder's output, whose gradient says what came through it.
    """
    source = {}

    def separate_source(number):
        def hook(layer, arguments):
            source[number] = arguments[1].detach().requires_grad_()
            return (arguments[0], source[number], *arguments[2:])

        return hook

    hooks = [layer.register_forward_pre_hook(separate_source(n)) for n, layer in enumerate(model.decoder.layers, start=1)]
    encoder_out = model.encoder(sample["net_input"]["src_tokens"], sample["net_input"]["src_lengths"])
    _, extra = model.decoder(sample["net_input"]["prev_output_tokens"], encoder_out=encoder_out, features_only=True)
    for hook in hooks:
        hook.remove()

    exits = model.decoder.num_exits
    factors = paper.scaling_factors(gamma, exits)
    weights = [paper.WEIGHTS[weighting](n) for n in range(1, exits + 1)]
    own = {name: p for name, p in model.named_parameters() if not name.startswith("encoder.")}
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    into_encoder = torch.zeros_like(encoder_out["encoder_out"][0])
    real = sample["target"].ne(DICTIONARY.pad())
    for n in range(1, exits + 1):
        logits = model.decoder.exit_classifier(n)(extra["inner_states"][n].transpose(0, 1))[real]
        loss = torch.nn.functional.cross_entropy(logits, sample["target"][real], reduction="sum")
        loss = weights[n - 1] / sum(weights) * loss
        wanted = [*own.values(), *source.values()]
        found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        for (name, _), gradient in zip(own.items(), found):
            if gradient is None:
                continue
            if name.startswith("decoder.exit_classifiers."):
                sums[name] += factors[n - 1] * gradient
            else:
                sums[name] += paper.gradient_factor(block_of(name), n, factors) * gradient
        for block, gradient in zip(source, found[len(own) :]):
            if gradient is not None:
                into_encoder += paper.gradient_factor(block, n, factors) * gradient
    if exit_loss is not None:
        read = [state.transpose(0, 1).detach().requires_grad_() for state in extra["inner_states"][1:]]
        encoder_read = encoder_out["encoder_out"][0].detach().requires_grad_()
        classifier = model.decoder.halting
        logits = classifier(read, {**encoder_out, "encoder_out": [encoder_read]})
        loss = exit_loss(classifier.log_distribution(logits))
        halting = {name: p for name, p in own.items() if name.startswith("decoder.halting.")}
        found = torch.autograd.grad(loss, [*halting.values(), encoder_read, *read], allow_unused=True)
        for name, gradient in zip(halting, found):
            sums[name] += gradient
        if found[len(halting)] is not None:
            into_encoder += found[len(halting)]
        for n, sent in enumerate(found[len(halting) + 1 :], start=1):
            if sent is None:
                continue
            state = extra["inner_states"][n].transpose(0, 1)
            wanted = [*own.values(), *source.values()]
            blocks = [*map(block_of, own), *source]
            passed = torch.autograd.grad(state, wanted, sent, retain_graph=True, allow_unused=True)
            for number, (block, gradient) in enumerate(zip(blocks, passed)):
                if gradient is None:
                    continue
                scaled = paper.gradient_factor(block, n, factors) / factors[n - 1] * gradient
                if number < len(own):
                    sums[list(own)[number]] += scaled
                else:
                    into_encoder += scaled
    encoder = {name: p for name, p in model.named_parameters() if name.startswith("encoder.")}
    found = torch.autograd.grad(encoder_out["encoder_out"][0], encoder.values(), into_encoder, allow_unused=True)
    sums.update((name, gradient) for name, gradient in zip(encoder, found) if gradient is not None)
    return sums


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    gamma=st.sampled_from([0.3, 0.5, 0.9, 1.1]),
    weighting=st.sampled_from(["uniform", "inverse"]),
    options=st.fixed_dictionaries(
        {
            "decoder_layers": st.integers(1, 5),
            "decoder_normalize_before": st.booleans(),
            "share_exit_classifiers": st.booleans(),
            "decoder_embed_dim": st.sampled_from([12, 16]),
            "halting": st.sampled_from(["none", "geometric"]),
        }
    ),
    lengths=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
)
@double_attention()
def test_gradients_equal_the_factors_by_hand(gamma, weighting, options, lengths, seed):
    scaled = small_model(DICTIONARY, seed, encoder_layers=1, gradient_scaling=gamma, **options).double()
    plain = small_model(DICTIONARY, seed, encoder_layers=1, **options).double()
    plain.load_state_dict(scaled.state_dict())
    sample = random_sample(DICTIONARY, lengths, seed)
    criterion = DepthAdaptiveCrossEntropy(TASK, False, exit_weights=weighting)
    loss = criterion(scaled, sample)[0]
    torch.testing.assert_close(loss, criterion(plain, sample)[0])  # SCALE keeps the values
    loss.backward()
    expected = gradients_by_hand(plain, sample, gamma, weighting)
    assert all(parameter.grad is not None for parameter in scaled.decoder.layers.parameters())
    for name, parameter in scaled.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(
                parameter.grad, expected[name], rtol=1e-8, atol=1e-11, msg=lambda text: f"{name}: {text}"
            )


ALPHA = 0.7


@pytest.mark.parametrize("gamma", [0.3, 1.1])
@pytest.mark.parametrize(
    "halting, per_block", [("geometric", False), ("geometric", True), ("multinomial", False), ("sequence", False)]
)
@double_attention()
def test_gradients_of_the_exit_loss_equal_the_factors_by_hand(halting, per_block, gamma):
    """The oracle's exits are those that the criterion was given: they are constants to the gradient."""
    options = dict(encoder_layers=1, decoder_layers=4, decoder_normalize_before=True)
    options.update(halting=halting, halting_per_block=per_block)
    scaled = small_model(DICTIONARY, 3, gradient_scaling=gamma, **options).double()
    plain = small_model(DICTIONARY, 3, **options).double()
    plain.load_state_dict(scaled.state_dict())
    sample = random_sample(DICTIONARY, [(3, 4), (4, 2), (2, 6)], 3)
    seen = []

    def exit_loss(log_distribution):
        real = sample["target"].ne(DICTIONARY.pad())
        rows = real.any(dim=1, keepdim=True) if plain.decoder.halting.per_sentence else real
        return -ALPHA * log_distribution[rows].gather(-1, seen[0].unsqueeze(-1) - 1).sum()

    def remember(kind):
        def oracle(*arguments):
            exits = getattr(oracles, kind)(*arguments)
            real = arguments[1].any(dim=1, keepdim=True) if kind == "sequence_oracle" else arguments[1]
            seen.append(exits[real])
            return exits

        return oracle

    criterion = DepthAdaptiveCrossEntropy(TASK, False, exit_loss_weight=ALPHA)
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("sequence_oracle", "token_oracle"):
            patch.setattr(exit_loss_module, kind, remember(kind))
        criterion(scaled, sample)[0].backward()
    assert len(seen[0].unique()) > 1
    expected = gradients_by_hand(plain, sample, gamma, "uniform", exit_loss)
    without = gradients_by_hand(plain, sample, gamma, "uniform")
    reached = set()
    for name, parameter in scaled.named_parameters():
        if parameter.grad is None:
            continue
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=1e-8, atol=1e-11, msg=lambda text: f"{name}: {text}"
        )
        if not torch.equal(expected[name], without[name]) and name.startswith("decoder.layers."):
            reached.add(block_of(name))
    assert reached == {"geometric": {1, 2, 3}, "multinomial": {1}, "sequence": set()}[halting]


def test_factors():
    """gamma (N - n), and 1 for the last exit."""
    for exits in (1, 2, 6):
        found = [exit_gamma(0.3, n, exits) for n in range(1, exits + 1)]
        assert found == pytest.approx(paper.scaling_factors(0.3, exits))


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1 / 0.3, 4.7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_scale_keeps_the_value_and_scales_the_gradient(dtype, factor):
    """Bit by bit: a model must not compute something else because it was trained with gradient scaling."""
    x = (100 * torch.randn(500, generator=torch.Generator().manual_seed(0))).to(dtype).requires_grad_()
    scaled = scale_gradient(x, factor)
    assert torch.equal(scaled, x)
    scaled.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, factor))


def test_gradient_scaling_is_off_by_default():
    model = small_model(DICTIONARY)
    assert model.decoder.gradient_scaling == 0
    assert not any(layer._forward_pre_hooks for layer in model.decoder.layers)

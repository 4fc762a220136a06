"""L = L_dec + alpha L_exit (Eq. 7) with its gradients, against loops over sentences, positions and exits."""

import argparse
import math

import pytest
import torch
from fairseq import metrics
from fairseq.dataclass.utils import gen_parser_from_dataclass
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy, DepthAdaptiveCrossEntropyConfig
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel
from tests.modules.double_precision import double_attention
from tests.reference import scalar_equations as paper
from tests.small_models import random_sample, small_config, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(5)
TASK = small_task(DICTIONARY)
HALTING = {
    "sequence": {"halting": "sequence"},
    "multinomial": {"halting": "multinomial"},
    "geometric": {"halting": "geometric"},
    "geometric per block": {"halting": "geometric", "halting_per_block": True},
}
LOGGED = ("exit_loss", "exit_terms", "oracle_exit", "predicted_exit", "exit_agreement")


def sentence_distributions(model, encoder_states, hidden):
    """log q of each position of one sentence, or of the sentence, as lists of scalars; hidden[n - 1][t] is h_t^n."""
    halting = model.decoder.halting
    if halting.kind == "sequence":
        layer = halting.projection
        return [paper.multinomial_log_distribution(layer.weight, layer.bias, paper.mean_state(encoder_states))]
    found = []
    for t in range(len(hidden[0])):
        if halting.kind == "multinomial":
            layer = halting.projection
            found.append(paper.multinomial_log_distribution(layer.weight, layer.bias, hidden[0][t]))
        else:
            below = [states[t] for states in hidden[:-1]]
            layers = [halting.projections[n if len(halting.projections) > 1 else 0] for n in range(len(below))]
            found.append(
                paper.geometric_log_distribution([x.weight[0] for x in layers], [x.bias[0] for x in layers], below)
            )
    return found


def predicted_exit(model, log_distribution):
    """What is taken at inference: the most probable exit, or the first whose chi exceeds one half."""
    if model.decoder.halting.kind != "geometric":
        return paper.multinomial_exit(log_distribution)
    left = 1.0
    for n, value in enumerate(log_distribution, start=1):
        probability = math.exp(float(value))
        if probability > 0.5 * left * (1 + 1e-9):
            return n
        left -= probability
    return len(log_distribution)


def loss_by_hand(model, sample, options):
    """Eq. 7 sentence by sentence, without padding.

    Returns:
        the loss, and the sums that are logged, keyed as in :data:`LOGGED`.
    """
    inputs, pad = sample["net_input"], DICTIONARY.pad()
    decoder_loss, exit_loss, sums = 0.0, 0.0, dict.fromkeys(LOGGED, 0.0)
    for source, previous, target in zip(inputs["src_tokens"], inputs["prev_output_tokens"], sample["target"]):
        source, previous, target = (x[x.ne(pad)][None] for x in (source, previous, target))
        encoder_out = model.encoder(source, src_lengths=torch.tensor([source.size(1)]))
        _, extra = model.decoder(previous, encoder_out=encoder_out)
        kept = range(options["ignore_prefix_size"], target.size(1))
        hidden = [[states[t, 0] for t in kept] for states in extra["inner_states"][1:]]
        words = [int(target[0, t]) for t in kept]
        if not words:
            continue
        losses, values = [], []
        for t, word in enumerate(words):
            logits = [model.decoder.exit_classifier(n)(states[t]) for n, states in enumerate(hidden, start=1)]
            losses.append([paper.smoothed_loss(each, word, options["label_smoothing"]) for each in logits])
            score = paper.log_likelihood if options["oracle"] == "likelihood" else paper.correct
            values.append([float(score(each, word)) for each in logits])
        decoder_loss = decoder_loss + paper.aligned_loss(losses, options["exit_weights"])

        distributions = sentence_distributions(model, encoder_out["encoder_out"][0][:, 0], hidden)
        if model.decoder.halting.kind == "sequence":
            oracle = [paper.sequence_oracle(values, options["oracle_penalty"])]
        else:
            oracle = paper.token_oracle(values, options["oracle_penalty"], options["oracle_kernel_width"])
        predicted = [predicted_exit(model, each) for each in distributions]
        term = paper.exit_loss(oracle, distributions)
        exit_loss = exit_loss + term
        sums["exit_loss"] += float(term)
        sums["exit_terms"] += len(oracle)
        sums["oracle_exit"] += sum(oracle)
        sums["predicted_exit"] += sum(predicted)
        sums["exit_agreement"] += sum(x == y for x, y in zip(oracle, predicted))
    return decoder_loss + options["exit_loss_weight"] * exit_loss, sums


def all_gradients(loss, model):
    """The gradient of every parameter of *model*, zeros where there is none, by name."""
    names, parameters = zip(*model.named_parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for name, parameter, gradient in zip(names, parameters, found)
    }


@pytest.mark.parametrize("oracle", ["likelihood", "correctness"])
@pytest.mark.parametrize("halting", HALTING)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    criterion_options=st.fixed_dictionaries(
        {
            "label_smoothing": st.sampled_from([0.0, 0.2]),
            "exit_weights": st.sampled_from(sorted(paper.WEIGHTS)),
            "exit_loss_weight": st.sampled_from([0.0, 0.3, 2.0]),
            "oracle_penalty": st.sampled_from([0.0, 0.05, 0.5]),
            "oracle_kernel_width": st.sampled_from([0.0, 2.0]),
            "ignore_prefix_size": st.integers(0, 1),
        }
    ),
    model_options=st.fixed_dictionaries(
        {
            "decoder_layers": st.integers(1, 4),
            "decoder_normalize_before": st.booleans(),
            "share_exit_classifiers": st.booleans(),
            "decoder_embed_dim": st.sampled_from([8, 12]),
        }
    ),
    sentence_avg=st.booleans(),
    lengths=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
)
@double_attention()
def test_loss_gradients_and_log_equal_the_loop(
    halting, oracle, criterion_options, model_options, sentence_avg, lengths, seed
):
    options = {**criterion_options, "oracle": oracle}
    if halting == "sequence":
        options["oracle_kernel_width"] = 0.0  # its oracle has no kernel
    sample = random_sample(DICTIONARY, lengths, seed)
    assume(sample["target"].size(1) > options["ignore_prefix_size"])
    model = small_model(DICTIONARY, seed, encoder_layers=1, **HALTING[halting], **model_options).double()
    loss, sample_size, log = DepthAdaptiveCrossEntropy(TASK, sentence_avg, **options)(model, sample)
    expected, sums = loss_by_hand(model, sample, options)

    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert sample_size == (len(lengths) if sentence_avg else sample["ntokens"])
    assert {name: float(log[name]) for name in LOGGED} == pytest.approx(sums, rel=1e-9)
    # That the loop's oracles are plain numbers makes this the proof that nothing flows through the real ones.
    slow = all_gradients(expected, model)
    for name, gradient in all_gradients(loss, model).items():
        torch.testing.assert_close(gradient, slow[name], rtol=1e-7, atol=1e-10, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("halting", HALTING)
def test_the_exit_loss_alone_trains_encoder_and_decoder(halting):
    """Whatever alpha adds to the gradients comes from the exit loss."""
    model = small_model(DICTIONARY, 3, **HALTING[halting]).double()
    sample = random_sample(DICTIONARY, [(3, 4), (2, 2)], 3)
    with_exit_loss, without = (
        all_gradients(DepthAdaptiveCrossEntropy(TASK, False, exit_loss_weight=alpha)(model, sample)[0], model)
        for alpha in (1.0, 0.0)
    )
    added = {name: (with_exit_loss[name] - without[name]).abs().max().item() for name in without}
    assert all(value > 1e-9 for name, value in added.items() if ".halting." in name)
    assert max(value for name, value in added.items() if name.startswith("encoder.")) > 1e-6
    reached = max(value for name, value in added.items() if name.startswith("decoder.layers.0."))
    assert reached == 0 if halting == "sequence" else reached > 1e-6
    # The oracle reads the classifiers, but is a target only; they get nothing.
    assert max(value for name, value in added.items() if "exit_classifiers" in name) < 1e-12


@pytest.mark.parametrize("halting", HALTING)
@pytest.mark.parametrize("mode", ["aligned", "mixed"])
def test_without_alpha_the_decoder_trains_as_without_halting(halting, mode):
    model, plain = small_model(DICTIONARY, 5, **HALTING[halting]), small_model(DICTIONARY, 6)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if ".halting." not in k})
    sample = random_sample(DICTIONARY, [(3, 4), (2, 2)], 5)
    criterion = DepthAdaptiveCrossEntropy(TASK, False, 0.1, training_mode=mode)
    for each in (model, plain):
        criterion(each.train(), sample)[0].backward()
    expected = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        if ".halting." in name:  # a gradient, if a zero one: distributed training waits for one
            assert parameter.grad is not None and not parameter.grad.any(), name
        elif expected[name].grad is None:
            assert parameter.grad is None, name
        else:
            assert torch.equal(parameter.grad, expected[name].grad), name


def test_means_are_logged_for_tokens_and_for_sentences():
    for halting in ("geometric", "sequence"):
        model = small_model(DICTIONARY, 1, halting=halting)
        sample = random_sample(DICTIONARY, [(3, 4), (2, 2)], 1)
        criterion = DepthAdaptiveCrossEntropy(TASK, False, exit_loss_weight=0.5)
        log = criterion(model, sample)[2]
        terms = 2 if halting == "sequence" else sample["ntokens"]
        with metrics.aggregate(new_root=True) as aggregated:
            criterion.reduce_metrics([log, log])
        values = aggregated.get_smoothed_values()
        assert values["exit_loss"] == pytest.approx(log["exit_loss"].item() / terms / math.log(2), abs=2e-3)
        for name in ("oracle_exit", "predicted_exit", "exit_agreement"):
            assert values[name] == pytest.approx(log[name].item() / terms, abs=2e-3)
        assert 1 <= values["predicted_exit"] <= 3 and 0 <= values["exit_agreement"] <= 1


BAD_MODELS = {
    "unknown kind": ({"halting": "sometimes"}, "--halting sometimes .*none, sequence, multinomial, geometric"),
    "no halting per block": ({"halting_per_block": True}, "--halting-per-block .*--halting none.*geometric"),
    "multinomial per block": ({"halting": "multinomial", "halting_per_block": True}, "--halting multinomial.*geometric"),
    "negative gamma": ({"gradient_scaling": -0.3}, "--gradient-scaling -0.3 .*0"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_impossible_models_are_refused(case):
    options, message = BAD_MODELS[case]
    with pytest.raises(DepthAdaptiveError, match=message):
        DepthAdaptiveTransformerModel.build_model(small_config(**options), TASK)


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
@pytest.mark.parametrize("option", ["exit_loss_weight", "oracle_penalty", "oracle_kernel_width"])
def test_values_out_of_range_are_refused(option, value):
    with pytest.raises(DepthAdaptiveError, match=f"--{option.replace('_', '-')} {value} .*0 or more"):
        DepthAdaptiveCrossEntropy(TASK, False, **{option: value})


CHOICES = {
    "--oracle": ("likelihood", "correctness"),
    "--training-mode": ("aligned", "mixed"),
    "--exit-weights": tuple(paper.WEIGHTS),
}


@pytest.mark.parametrize("option", CHOICES)
def test_unknown_choices_are_refused(option, capsys):
    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, DepthAdaptiveCrossEntropyConfig())
    with pytest.raises(SystemExit):
        parser.parse_args([option, "guess"])
    message = capsys.readouterr().err
    assert all(word in message for word in (option, "guess", *CHOICES[option]))


def test_an_exit_loss_needs_a_halting_classifier():
    criterion = DepthAdaptiveCrossEntropy(TASK, False, exit_loss_weight=0.5)
    with pytest.raises(DepthAdaptiveError, match="--exit-loss-weight 0.5 .*--halting sequence, multinomial or geometric"):
        criterion(small_model(DICTIONARY), random_sample(DICTIONARY, [(2, 2)]))


def test_a_kernel_needs_a_token_specific_classifier():
    criterion = DepthAdaptiveCrossEntropy(TASK, False, exit_loss_weight=0.5, oracle_kernel_width=2.0)
    with pytest.raises(DepthAdaptiveError, match="--oracle-kernel-width 2.0 .*--halting sequence"):
        criterion(small_model(DICTIONARY, halting="sequence"), random_sample(DICTIONARY, [(2, 2)]))

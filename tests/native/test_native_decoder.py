"""Blocks run by the native kernels give the states, translations and exits of those run by PyTorch, and do no more work."""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits import registry
from depth_adaptive_fairseq.exits.policy import Statistic
from depth_adaptive_fairseq.inference import plan
from depth_adaptive_fairseq.inference.linear import LinearFormat
from depth_adaptive_fairseq.inference.native_backend import NativeDecoder
from depth_adaptive_fairseq.inference.packed_weights import NativeBlock, packed_weights
from depth_adaptive_fairseq.inference.plan import make_plan
from depth_adaptive_fairseq.inference.torch_backend import TorchDecoder
from depth_adaptive_fairseq.native import kernels as native
from tests.generation.test_batches import assert_same_sentence
from tests.models_for_tests import ModelOptions, make_generator, make_model, make_prefixes, make_sample, random_sources

WIDE = dict(decoder_embed_dim=48, encoder_embed_dim=40, decoder_ffn_embed_dim=70, decoder_layers=4)
MODELS = {
    "post-norm": ModelOptions(seed=21, decoder_learned_pos=True, **WIDE),
    "pre-norm": ModelOptions(seed=22, encoder_normalize_before=True, decoder_normalize_before=True, **WIDE),
    "narrow": ModelOptions(seed=23, decoder_layers=4, decoder_normalize_before=True, share_exit_classifiers=True),
    "no cross-attention": ModelOptions(seed=24, no_cross_attention=True, **WIDE),
    "projected": ModelOptions(seed=26, decoder_normalize_before=True, decoder_output_dim=24, **WIDE),
    "multinomial": ModelOptions(seed=27, halting="multinomial", **WIDE),
    "sequence": ModelOptions(seed=28, halting="sequence", **WIDE),
    "halting": ModelOptions(seed=25, decoder_normalize_before=True, halting="geometric", **WIDE),
}
POLICIES = {
    "full": dict(exit_policy="full"),
    "fixed": dict(exit_policy="fixed", exit_at=2),
    "uniform": dict(exit_policy="uniform", exit_seed=4),
    "confidence": dict(exit_policy="confidence", exit_thresholds="0.6,0.5,0.35"),
    "patience": dict(exit_policy="patience", exit_patience=2),
    "saturation": dict(exit_policy="saturation", exit_saturation=0.9),
    "entropy": dict(exit_policy="entropy", exit_entropy=1.5),
    "margin": dict(exit_policy="margin", exit_margin=0.2),
    "auto": dict(exit_policy="auto"),
    "auto, each exit": dict(exit_policy="auto", exit_thresholds="0.55,0.5,0.45"),
}


def float32_model(name):
    return make_model(MODELS[name], torch.float32)


def assert_same_by_both(model, lengths, **options):
    """The kernels and PyTorch translate sentences of these *lengths* to the same."""
    sample = make_sample(random_sources(31, lengths))
    expected, found = (
        make_generator([model], beam=3, decoding_kernels=kernels, **options).generate([model], sample) for kernels in ("torch", "native")
    )
    for ours, theirs in zip(found, expected):
        assert_same_sentence(ours, theirs, tolerance=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), beam=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_states_while_the_beam_moves(library, name, lengths, beam, seed):
    """Random exits, random parents in the beam, sentences that finish: state by state."""
    model = float32_model(name)
    inputs = make_sample(random_sources(seed, lengths), "mixed")["net_input"]
    encoder_out = model.encoder.forward_torchscript(inputs)
    states, padding = encoder_out["encoder_out"][0].transpose(0, 1), encoder_out["encoder_padding_mask"][0]
    decoders = [
        kind(model.decoder, packed_weights(model.decoder, LinearFormat(native=native), native), states, padding, 1)
        for kind, native in ((TorchDecoder, False), (NativeDecoder, True))
    ]
    generator = torch.Generator().manual_seed(seed)
    sentences, per_sentence = len(lengths), 1
    for step in range(7):
        rows = torch.arange(sentences * per_sentence)
        newest = torch.randint(4, 24, rows.shape, generator=generator)
        exits = torch.randint(1, 5, rows.shape, generator=generator)
        hidden = [decoder.begin_step(newest) for decoder in decoders]
        for n in range(1, 5):
            if len(rows) == 0:
                break
            packed = None if len(rows) == len(newest) else rows
            hidden = [decoder.run_block(n, h, packed) for decoder, h in zip(decoders, hidden)]
            torch.testing.assert_close(hidden[1], hidden[0], atol=2e-5, rtol=1e-4)
            leaves = exits[rows] == n
            for decoder, h in zip(decoders, hidden):
                if leaves.any():
                    decoder.leave(n, h[leaves], rows[leaves])
            rows, hidden = rows[~leaves], [h[~leaves] for h in hidden]
        kept = [s for s in range(sentences) if step == 0 or torch.rand((), generator=generator) > 0.15]
        if not kept:
            break
        order = torch.tensor([s * per_sentence + int(torch.randint(per_sentence, (), generator=generator)) for s in kept for _ in range(beam)])
        for decoder in decoders:
            decoder.reorder(order, beam)
        sentences, per_sentence = len(kept), beam


@pytest.mark.parametrize("policy", ["full", "uniform", "confidence"])
def test_long_translations(library, policy):
    """Longer than what there is room for at first: caches are compacted, or grow."""
    assert_same_by_both(float32_model("pre-norm"), [9, 1, 4], max_len_b=28, min_len=26, **POLICIES[policy])


def test_room_is_kept_for_hypotheses_in_the_beam_only(library):
    """All rows follow the first one, step by step: what is alive hardly grows, so neither do the caches."""
    model = float32_model("pre-norm")
    encoder_out = model.encoder.forward_torchscript(make_sample([[5, 7, 2]])["net_input"])
    states, beam = encoder_out["encoder_out"][0].transpose(0, 1), 4
    decoder = NativeDecoder(model.decoder, packed_weights(model.decoder, LinearFormat(native=True), True), states, None, 1)
    for step in range(100):
        newest = torch.arange(4, 4 + (1 if step == 0 else beam))
        decoder.run_block(1, decoder.begin_step(newest), None)
        decoder.reorder(torch.zeros(beam, dtype=torch.long), beam)
    assert decoder.step == 99 and 100 + beam <= decoder._capacity <= 256  # of 400 entries in all


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["post-norm", "pre-norm", "no cross-attention", "halting"])
def test_translations(library, name, policy):
    assert_same_by_both(float32_model(name), [9, 1, 4, 9, 2, 6], max_len_b=10, min_len=2, **POLICIES[policy])


@pytest.mark.parametrize(
    "options",
    [dict(sampling=True, sampling_topk=3), dict(diverse_beam_groups=3), dict(unkpen=1.5, lenpen=0.3), dict(temperature=1.7)],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_search(library, options):
    models, sources = [float32_model("pre-norm")], random_sources(32, [5, 3, 8])
    options = dict(beam=3, max_len_b=8, exit_policy="uniform", **options)
    results = []
    for kernels in ("torch", "native"):
        torch.manual_seed(1)
        results.append(make_generator(models, decoding_kernels=kernels, **options).generate(models, make_sample(sources)))
    for ours, theirs in zip(*results):
        assert_same_sentence(theirs, ours, tolerance=1e-4)


def test_ensemble_and_prefix(library):
    models = [float32_model("pre-norm"), float32_model("post-norm")]
    sources, prefixes = random_sources(33, [5, 3]), make_prefixes([[7, 9], [8]])
    expected, found = (
        make_generator(models, beam=2, max_len_b=8, exit_policy="uniform", decoding_kernels=kernels).generate(
            models, make_sample(sources), prefix_tokens=prefixes
        )
        for kernels in ("torch", "native")
    )
    for ours, theirs in zip(found, expected):
        assert_same_sentence(ours, theirs, tolerance=1e-4)


def test_two_threads_give_what_one_gives(library):
    models, sources = [float32_model("pre-norm")], random_sources(34, [4] * 200)  # enough for threads to share what is moved
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            generator = make_generator(models, beam=4, max_len_b=9, exit_policy="uniform", decoding_kernels="native")
            results.append(generator.generate(models, make_sample(sources)))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*results):
        assert_same_sentence(two, one, tolerance=0)


@pytest.mark.parametrize("by", ["uniform", "geometric", "confidence", "fixed"])
@pytest.mark.parametrize("whole_steps", [True, False])
def test_each_token_is_paid_for_up_to_its_exit(library, whole_steps, by, monkeypatch):
    """With a beam of one the hypotheses show all that was computed: tokens of each block, copied states, and predictions."""
    if not whole_steps:
        monkeypatch.setattr(plan, "_why_no_whole_steps", lambda models, rule: "a test")
    work = []

    def counted_block(self, kernels, state, hidden):
        run_block(self, kernels, state, hidden)
        work.append((state.number, state.count, state.projected))

    def counted_step(self, *args):
        found = search_step(self, *args)
        work.extend((state.number, state.count, state.projected) for state in self._states if state.count > 0)
        return found

    run_block, search_step = NativeBlock.run, NativeDecoder.search_step
    monkeypatch.setattr(NativeBlock, "run", counted_block)
    monkeypatch.setattr(NativeDecoder, "search_step", counted_step)
    model = float32_model("halting" if by == "geometric" else "post-norm")
    policy = dict(exit_policy="geometric", exit_thresholds="0.55,0.5,0.45") if by == "geometric" else POLICIES[by]
    generator = make_generator([model], beam=1, max_len_b=6, **policy)
    found = generator.generate([model], make_sample(random_sources(61, [5] * 6)))
    sentences = [hypotheses[0]["exits"].tolist() for hypotheses in found]
    assert len({exit_index for exits in sentences for exit_index in exits}) > 1 or by == "fixed"
    copied = predicted = 0
    for number in range(1, 5):
        reached = [[exit_index >= number for exit_index in exits] for exits in sentences]
        assert sum(count for block, count, _ in work if block == number) == sum(map(sum, reached))
        # Copied states are projected when a later token comes by, so those after the last one never are.
        passed = [len(row) - row[::-1].index(True) - sum(row) if any(row) else 0 for row in reached]
        assert sum(projected - count for block, count, projected in work if block == number) == sum(passed)
        copied += sum(passed)
        # Confidence looks at the prediction of every exit that a token reaches, other policies at the last one only.
        left = sum(exit_index == number for exits in sentences for exit_index in exits)
        predicted += sum(map(sum, reached)) if by == "confidence" else left
    counts = generator.model.work
    assert (counts.steps, counts.block_calls) == (max(map(len, sentences)), len(work))
    assert (counts.block_rows, counts.copied_states) == (sum(map(sum, sentences)), copied)
    # At most once an exit and step, and never for nothing.
    steps_of_exits = {(step, exit_index) for exits in sentences for step, exit_index in enumerate(exits)}
    assert counts.classifier_rows == predicted
    assert counts.classifier_calls == (len(work) if by == "confidence" else len(steps_of_exits))


def test_what_the_kernels_do_not_know_runs_in_pytorch(library):
    plain = MODELS["pre-norm"]
    for options, reason in [
        (plain, ""),
        (ModelOptions(activation_fn="gelu"), "activation gelu is not known to the kernels"),
        (ModelOptions(cross_self_attention=True), "--cross-self-attention is not known to the kernels"),
    ]:
        blocks = make_plan([make_model(options, torch.float32)]).blocks
        assert (blocks.fast, blocks.reason) == (not reason, reason)
    assert make_plan([make_model(plain)]).blocks.reason == "the model is in float64 on cpu, the kernels take float32 on a CPU"
    retained = make_model(plain, torch.float32)
    for module in (retained.decoder.dropout_module, retained.decoder.layers[0].dropout_module):
        module.p, module.apply_during_inference = 0.1, True
    assert make_plan([retained]).blocks.reason == "--retain-dropout is not known to the kernels"


def test_asked_for_in_vain(monkeypatch):
    model = make_model(MODELS["pre-norm"])
    with pytest.raises(DepthAdaptiveError, match="--decoding-kernels native was given, and the kernels cannot run .*: the model is in float64 on cpu"):
        make_generator([model], decoding_kernels="native", exit_policy="full")
    gelu = make_model(ModelOptions(activation_fn="gelu"), torch.float32)
    with pytest.raises(DepthAdaptiveError, match="native was given, and the kernels cannot run .*: activation gelu is not known to the kernels"):
        make_generator([gelu], decoding_kernels="native", exit_policy="full")
    with pytest.raises(DepthAdaptiveError, match="--decoding-kernels cuda was given; choose one of auto, native, torch"):
        make_generator([model], decoding_kernels="cuda", exit_policy="full")


def test_without_a_library_pytorch_decodes(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    model = float32_model("pre-norm")
    assert not make_plan([model]).blocks.fast
    assert isinstance(make_generator([model], beam=2, max_len_b=4).generate([model], make_sample([[5, 2]]))[0][0]["exits"], torch.Tensor)


def test_whatever_the_default_dtype(library):
    """The kernels' memory is float32 all the same."""
    models, sources = [float32_model("pre-norm")], random_sources(35, [5, 3, 8])
    options = dict(beam=3, max_len_b=20, exit_policy="confidence", exit_thresholds="0.3", decoding_kernels="native")
    expected = make_generator(models, **options).generate(models, make_sample(sources))
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = make_generator(models, **options).generate(models, make_sample(sources))
    finally:
        torch.set_default_dtype(torch.float32)
    for ours, theirs in zip(found, expected):
        assert_same_sentence(ours, theirs)


def test_a_statistic_of_somebody_else_decides_itself(library):
    """The kernels run the blocks, and PyTorch computes what they do not know."""
    never = Statistic("never", lambda block, before: (torch.zeros(block.rows), before))
    model = float32_model("pre-norm")
    generator = make_generator([model], beam=2, max_len_b=5, exit_policy="confidence", exit_thresholds=0.0)
    generator.model.rule = replace(generator.model.rule, policy=replace(registry.POLICIES["confidence"], statistic=never))
    model.decoder.drop_derived_state()  # the plan is made anew
    [[best, *_]] = generator.generate([model], make_sample([[5, 7, 2]]))
    assert set(best["exits"].tolist()) == {4}
    assert generator.plan.whole_steps.reason == "statistic 'never' is not known to the kernels"


@pytest.mark.parametrize("policy", ["full", "uniform", "confidence"])
@pytest.mark.parametrize("name", ["pre-norm", "projected"])
@pytest.mark.parametrize("kernels", ["native", "torch"])
def test_under_autocast(kernels, name, policy):
    models, sources = [float32_model(name)], random_sources(36, [5, 3, 8])
    generator = make_generator(models, beam=3, max_len_b=8, decoding_kernels=kernels, **POLICIES[policy])
    with torch.autocast("cpu", torch.bfloat16):
        found = generator.generate(models, make_sample(sources))
    for [best, *_] in found:
        assert len(best["exits"]) == len(best["tokens"]) and best["positional_scores"].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_a_processor(dtype):
    model = make_model(MODELS["pre-norm"], torch.float32).to(dtype)
    [[best, *_]] = make_generator([model], beam=2, max_len_b=5, exit_policy="uniform").generate([model], make_sample([[5, 7, 2]]))
    assert len(best["exits"]) == len(best["tokens"])

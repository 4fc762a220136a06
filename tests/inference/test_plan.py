"""What runs a model is decided in one place, and said with the reason."""

import pytest
import torch

from depth_adaptive_fairseq.native import kernels
from tests.models_for_tests import ModelOptions, make_generator, make_model, make_prefixes, make_sample

PRE_NORM = dict(encoder_normalize_before=True, decoder_normalize_before=True)
needs_kernels = pytest.mark.skipif(kernels.library() is None, reason="no kernels are compiled here")


def plan_of(models, **options):
    return make_generator(models, **{"beam": 2, "exit_policy": "full", **options}).plan


@needs_kernels
@pytest.mark.parametrize("policy", [
    dict(exit_policy="full"), dict(exit_policy="fixed", exit_at=2), dict(exit_policy="uniform"), dict(exit_policy="confidence"),
    dict(exit_policy="entropy", exit_entropy=0.4), dict(exit_policy="margin", exit_margin=0.4),
    dict(exit_policy="saturation", exit_saturation=0.4), dict(exit_policy="patience", exit_patience=2),
], ids=lambda policy: policy["exit_policy"])  # fmt: skip
def test_all_policies_take_whole_steps(policy):
    plan = plan_of([make_model(ModelOptions(**PRE_NORM), torch.float32)], **policy)
    name = kernels.instruction_set()
    assert plan.describe() == f"run by | weights float32 | encoder in kernels ({name}) | blocks in kernels ({name}) | whole steps"


@needs_kernels
@pytest.mark.parametrize("halting", ["sequence", "multinomial", "geometric"])
def test_halting_classifiers_take_whole_steps(halting):
    assert plan_of([make_model(ModelOptions(halting=halting), torch.float32)], exit_policy="auto").whole_steps.fast


@needs_kernels
@pytest.mark.parametrize(
    "options, given, said",
    [
        (dict(activation_fn="gelu_fast"), {}, "blocks in PyTorch: activation gelu_accurate is not known to the kernels"),
        (dict(cross_self_attention=True), {}, "blocks in PyTorch: --cross-self-attention is not known to the kernels"),
        (dict(decoder_output_dim=8), {}, "block by block: --decoder-output-dim is not known to the kernels"),
        (dict(layernorm_embedding=True), {}, "block by block: the decoder's embedding is not known to the kernels"),
        ({}, dict(quantize="int8"), "weights int8 | encoder in kernels"),
        ({}, dict(quantize="float16"), "blocks in PyTorch: --quantize float16 is PyTorch's"),
        ({}, dict(decoding_kernels="torch"), "encoder in PyTorch: --decoding-kernels torch | blocks in PyTorch: --decoding-kernels torch"),
        ({}, dict(sampling=True, nbest=2), "fairseq's search: Sampling"),
        ({}, dict(no_repeat_ngram_size=2), "fairseq's search: --no-repeat-ngram-size"),
        ({}, dict(match_source_len=True), "fairseq's search: LengthConstrainedBeamSearch"),
    ],
    ids=str,
)
def test_the_reason_is_said(options, given, said):
    assert said in plan_of([make_model(ModelOptions(**PRE_NORM, **options), torch.float32)], **given).describe()


def test_other_precisions_and_ensembles():
    model = make_model(ModelOptions(), torch.float32)
    assert "an ensemble" in plan_of([model, model]).describe()
    text = plan_of([make_model(ModelOptions())]).describe()
    assert "weights float64" in text and "the model is in float64 on cpu, the kernels take float32 on a CPU" in text


def test_without_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "library", lambda: None)
    monkeypatch.setattr(kernels, "reason", lambda: "no kernels were compiled for baseline")
    assert "blocks in PyTorch: no kernels were compiled for baseline" in plan_of([make_model(ModelOptions(), torch.float32)]).describe()


@needs_kernels
def test_a_forced_prefix_is_told_of_its_batch():
    model = make_model(ModelOptions(), torch.float32)
    generator = make_generator([model], beam=2, max_len_b=5, exit_policy="full")
    generator.generate([model], make_sample([[5, 6, 2]]), prefix_tokens=make_prefixes([[7]]))
    assert "fairseq's search: a forced prefix" in generator.plan.describe()
    generator.generate([model], make_sample([[5, 6, 2]]))
    assert generator.plan.describe().endswith("whole steps")

"""fairseq-train with the exit loss, and mixed training, in less than float32.

On a CPU fairseq trains in bfloat16 in both of its ways, and in float16 with ``--memory-efficient-fp16``, as long as no
gradient overflows: it answers an overflow through CUDA, hence the low loss scale.
"""

import functools
import math

import pytest
import torch

UPDATES = 6
REGIMES = {
    "sequence": dict(model__halting="sequence", criterion__exit_loss_weight=1.0),
    "multinomial": dict(model__halting="multinomial", criterion__exit_loss_weight=1.0),
    "geometric": dict(
        model__halting="geometric", model__halting_per_block=True, criterion__exit_loss_weight=1.0,
        criterion__oracle_penalty=0.05,
    ),
    "mixed": dict(criterion__training_mode="mixed", criterion__exit_paths=2),
}  # fmt: skip


def on_a_gpu_only(reason: str):
    return pytest.mark.skipif(not torch.cuda.is_available(), reason=reason)


PRECISIONS = [
    pytest.param({"bf16": True}, id="bf16"),
    pytest.param({"bf16": True, "memory_efficient_bf16": True}, id="memory-efficient-bf16"),
    pytest.param({"fp16": True, "memory_efficient_fp16": True, "fp16_init_scale": 8}, id="memory-efficient-fp16"),
    pytest.param(
        {"fp16": True}, id="fp16", marks=on_a_gpu_only("fairseq keeps the float32 copy of --fp16's parameters on a GPU")
    ),
    pytest.param({"amp": True}, id="amp", marks=on_a_gpu_only("--amp is CUDA's autocast, which torch turns off without a GPU")),
]


def losses(train_briefly, regime: str, precision: dict):
    """The numbers logged with each update, and those of the validation behind them."""
    done = train_briefly(
        optimization__max_update=UPDATES, **REGIMES[regime], **{f"common__{name}": value for name, value in precision.items()}
    )
    updates = [{name: float(value) for name, value in log.items()} for log in done.json_logs("train_inner")]
    valid = done.json_logs("valid")[-1]
    return updates, {name.removeprefix("valid_"): float(value) for name, value in valid.items()}


@functools.lru_cache(maxsize=None)
def float32_losses(train_briefly, regime: str):
    return losses(train_briefly, regime, {})


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("regime", REGIMES)
def test_losses_are_near_those_of_float32(train_briefly, regime, precision):
    expected_updates, expected_valid = float32_losses(train_briefly, regime)
    updates, valid = losses(train_briefly, regime, precision)
    names = ["loss", "nll_1", "nll_2", "nll_3", *(["exit_loss"] if regime != "mixed" else [])]
    assert len(updates) == len(expected_updates) == UPDATES
    for found, expected in zip(updates, expected_updates):
        assert math.isfinite(found["gnorm"]) and found["gnorm"] > 0
        for name in names:
            # The first losses are those of the same parameters, rounded; after that the models move apart, the exit loss
            # most, which rises and falls by half between two of these updates.
            tolerance = 0.01 if found is updates[0] else 0.12
            assert found[name] == pytest.approx(expected[name], rel=tolerance), (name, found["num_updates"])
    for name in names:
        assert valid[name] == pytest.approx(expected_valid[name], rel=0.1), name
    gnorms, float32_gnorms = ([update["gnorm"] for update in each] for each in (updates, expected_updates))
    assert gnorms != float32_gnorms, "it was float32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU --amp is not float32")
@pytest.mark.parametrize("regime", ["geometric", "mixed"])
def test_without_a_gpu_amp_trains_in_float32(train_briefly, regime):
    updates, valid = losses(train_briefly, regime, {"amp": True})
    expected_updates, expected_valid = float32_losses(train_briefly, regime)
    assert [update["loss"] for update in updates] == [update["loss"] for update in expected_updates]
    assert valid["loss"] == expected_valid["loss"]

"""Training the exit loss in other precisions: an update and a validation through fairseq-train, on a CPU."""

import math

import pytest
import torch

HALTING = {"model__halting": "geometric", "criterion__exit_loss_weight": 1.0, "criterion__oracle_penalty": 0.05}
MIXED = {"criterion__training_mode": "mixed", "criterion__exit_paths": 2}


@pytest.mark.parametrize("regime", [HALTING, MIXED], ids=["halting", "mixed"])
@pytest.mark.parametrize(
    "precision",
    [
        "bf16",
        pytest.param("fp16", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="fairseq's loss scaler needs a GPU")),
        "amp",
    ],
)
def test_losses_are_near_those_of_float32(train_briefly, precision, regime):
    """--amp is fairseq's mixed precision for GPUs, and float32 on a CPU; it has to run all the same."""
    expected = train_briefly(**regime)
    done = train_briefly(**regime, **{f"common__{precision}": True})
    for split in ("train", "valid"):
        [log], [wanted] = done.json_logs(split), expected.json_logs(split)
        names = [name for name in wanted if name.startswith((f"{split}_nll", f"{split}_loss", f"{split}_exit"))]
        assert f"{split}_nll_3" in names
        for name in names:
            assert math.isfinite(float(log[name])), name
            assert float(log[name]) == pytest.approx(float(wanted[name]), rel=0.02, abs=0.02), name

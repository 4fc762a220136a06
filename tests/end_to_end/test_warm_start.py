"""Going on from a checkpoint: one of fairseq's own Transformer, or one of ours."""

import pytest

from tests.end_to_end.commands import assert_ok
from tests.end_to_end.training import ADAPTIVE, AS_IT_IS, OPTIMIZATION, RESET, SIZES


def first_validation(done) -> dict:
    return done.json_logs("valid")[0]


@pytest.mark.parametrize("how", ["finetune", "restore"])
def test_from_a_stock_checkpoint(train_briefly, stock, how):
    """The last exit starts as good as the stock model was; its matrix starts the others too."""
    path = str(stock.checkpoint)
    entries = dict(checkpoint__finetune_from_model=path) if how == "finetune" else dict(checkpoint__restore_file=path, **RESET)
    log = first_validation(train_briefly(**entries, **AS_IT_IS))
    expected = stock.log.json_logs("valid")[-1]["valid_nll_loss"]
    assert float(log["valid_nll_3"]) == pytest.approx(float(expected), abs=2e-3)
    assert float(log["valid_nll_1"]) != float(log["valid_nll_3"])
    assert log["valid_num_updates"] == "1"


@pytest.mark.parametrize("how", ["finetune", "restore"])
def test_from_an_adaptive_checkpoint(train_briefly, trained, how):
    path = str(trained.checkpoint)
    entries = dict(checkpoint__finetune_from_model=path) if how == "finetune" else dict(checkpoint__restore_file=path, **RESET)
    log = first_validation(train_briefly(**entries, **AS_IT_IS))
    expected = trained.log.json_logs("valid")[-1]
    for n in (1, 2, 3):
        assert float(log[f"valid_nll_{n}"]) == pytest.approx(float(expected[f"valid_nll_{n}"]), abs=2e-3)


def test_full_depth_after_a_warm_start_translates_as_the_stock_model(run, data, stock, decode, decode_stock, tmp_path):
    """In fairseq's own task, too, to which the model is a plain Transformer."""
    assert_ok(
        run(
            "fairseq-train", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--lr", 0, "--max-update", 1,
            "--finetune-from-model", stock.checkpoint, "--save-dir", "continued", "--disable-validation",
        )
    )  # fmt: skip
    continued = tmp_path / "continued" / "checkpoint_last.pt"
    expected = decode_stock(stock.checkpoint, generation__nbest=3)
    for done in (
        decode(continued, task__exit_policy="full", generation__nbest=3),
        decode_stock(continued, generation__nbest=3),
    ):
        assert done.hypotheses() == expected.hypotheses()
        for i, scores in expected.scores().items():
            assert done.scores()[i] == pytest.approx(scores, abs=1e-4)

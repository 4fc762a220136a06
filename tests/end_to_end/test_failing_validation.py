"""What would end the first validation is said before the first update; what ends one all the same costs no training."""

import pytest
from fairseq import options
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq_cli import train as fairseq_train

from depth_adaptive_fairseq.tasks.depth_adaptive_translation import DepthAdaptiveTranslationTask
from tests.end_to_end.commands import Finished
from tests.end_to_end.in_process import InProcess
from tests.end_to_end.training import ADAPTIVE, OPTIMIZATION, SIZES

LOSSES = ("loss", "nll_1", "nll_2", "nll_3", "gnorm", "lr")


@pytest.fixture(scope="module")
def _trainer(data):
    command = (
        data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--dropout", 0.2, "--max-update", 9, "--log-interval", 1, "--save-dir", "checkpoints",
        "--lr-scheduler", "inverse_sqrt", "--warmup-updates", 4, "--restore-file", "checkpoint_last.pt",
    )  # fmt: skip
    return InProcess(fairseq_train.main, options.get_training_parser(), *command)


@pytest.fixture
def train(_trainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return _trainer


@pytest.mark.parametrize(
    "entries, parts",
    [
        (dict(checkpoint__best_checkpoint_metric="bleu"), ["--best-checkpoint-metric bleu", "nll_3", "--eval-bleu"]),
        (dict(checkpoint__best_checkpoint_metric="accuracy"), ["--best-checkpoint-metric accuracy", "nll_3"]),
        (dict(dataset__max_tokens_valid=7), ["--max-tokens 7", "--max-tokens-valid", "tokens"]),
        (dict(checkpoint__restore_file="TYPO.pt"), ["--restore-file TYPO.pt does not exist"]),
        (dict(checkpoint__restore_file="."), ["--restore-file . is a folder"]),
        (dict(checkpoint__finetune_from_model="TYPO.pt"), ["--finetune-from-model TYPO.pt does not exist"]),
        (dict(checkpoint__finetune_from_model="."), ["--finetune-from-model . is a folder"]),
        (dict(checkpoint__continue_once="TYPO.pt"), ["--continue-once TYPO.pt does not exist"]),
        (dict(checkpoint__optimizer_overrides="x"), ["--optimizer-overrides x", "dictionary"]),
        (dict(checkpoint__optimizer_overrides="{'learning_rate': 1}"), ["learning_rate", "betas", "lr"]),
        (dict(common__fp16=True, common__cpu=True), ["--fp16", "--memory-efficient-fp16"]),
        (dict(dataset__max_tokens=2, dataset__max_tokens_valid=600), ["there is no sentence to train"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_refused_before_the_first_update(train, tmp_path, entries, parts, monkeypatch):
    monkeypatch.setattr(fairseq_train.Trainer, "train_step", lambda *_, **__: pytest.fail("an update was made"))
    with pytest.raises(Exception) as raised:
        train(**entries)
    assert raised.value.is_user_error
    for part in parts:
        assert part in str(raised.value)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_validation_pair_longer_than_the_positions(train, side, monkeypatch):
    """The training set has shorter ones, and others are left out of it."""
    monkeypatch.setattr(fairseq_train.Trainer, "train_step", lambda *_, **__: pytest.fail("an update was made"))
    option = f"max_{side}_positions"
    with pytest.raises(ValueError, match=f"sentences are longer than .*--max-{side}-positions") as raised:
        train(**{f"task__{option}": 8, f"model__{option}": 8})
    assert raised.value.is_user_error


def test_more_validation_sets_than_named(train, data, tmp_path):
    for path in data.iterdir():
        (tmp_path / path.name).symlink_to(path)
        if path.name.startswith("valid."):
            (tmp_path / path.name.replace("valid.", "valid1.")).symlink_to(path)
    with pytest.raises(ValueError, match="sets valid1, .*--combine-valid-subsets.*--ignore-unused-valid-subsets") as raised:
        train(task__data=tmp_path)
    assert raised.value.is_user_error
    done = train(task__data=tmp_path, dataset__valid_subset="valid,valid1", optimization__max_update=1)
    assert len(done.json_logs("valid")) == len(done.json_logs("valid1")) == 1


def test_a_metric_that_validation_logs(train, tmp_path):
    """BLEU of translations that are all empty is 0, and chooses the best checkpoint."""
    done = train(
        task__eval_bleu=True, task__eval_bleu_args='{"beam": 2, "max_len_b": 0, "min_len": 0}', optimization__max_update=1,
        checkpoint__best_checkpoint_metric="bleu", checkpoint__maximize_best_checkpoint_metric=True,
    )  # fmt: skip
    (log,) = done.json_logs("valid")
    assert float(log["valid_bleu"]) == 0
    assert (tmp_path / "checkpoints" / "checkpoint_best.pt").exists()


def losses(done: Finished) -> dict:
    return {int(log["num_updates"]): {name: log[name] for name in LOSSES} for log in done.json_logs("train_inner")}


@pytest.mark.parametrize("interval", [{}, {"checkpoint__save_interval_updates": 2}], ids=["end of an epoch", "amid an epoch"])
def test_a_validation_that_fails_loses_no_update(train, tmp_path, interval, monkeypatch):
    """The checkpoint is there before the validation begins, and training goes on from it with equal losses."""
    whole = losses(train(checkpoint__save_dir="whole", **interval))
    assert list(whole) == list(range(1, 10))
    saved = tmp_path / "checkpoints" / "checkpoint_last.pt"
    seen = []

    def fail(*_):
        seen.append(load_checkpoint_to_cpu(str(saved))["optimizer_history"][-1]["num_updates"])
        raise MemoryError("a validation that fails")

    with monkeypatch.context() as patch:
        patch.setattr(DepthAdaptiveTranslationTask, "valid_step", fail)
        with pytest.raises(MemoryError):
            train(**interval)
    assert len(seen) == 1
    if interval:
        assert seen == [2]
    assert seen[0] >= 2
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint_last.pt"]

    resumed = losses(train(**interval))
    assert resumed == {update: log for update, log in whole.items() if update > seen[0]}


def test_without_the_last_checkpoint(train, tmp_path, monkeypatch):
    """It is then the epoch's own that is written first; and with --no-save there is none."""
    monkeypatch.setattr(DepthAdaptiveTranslationTask, "valid_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(checkpoint__no_last_checkpoints=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint1.pt"]
    with pytest.raises(ZeroDivisionError):
        train(checkpoint__no_save=True, checkpoint__save_dir="none")
    assert not list((tmp_path / "none").iterdir())


def test_trying_the_validation_changes_no_loss(train, monkeypatch):
    """With BLEU, for which one sentence is translated before the first update, and without."""
    plain = losses(train(checkpoint__save_dir="plain"))
    with_bleu = losses(train(checkpoint__save_dir="bleu", task__eval_bleu=True, task__eval_bleu_args='{"beam": 1, "max_len_b": 3}'))
    assert with_bleu == plain

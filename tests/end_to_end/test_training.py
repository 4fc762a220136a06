"""fairseq-train: what it logs, what it saves, and that its options reach the model and the criterion."""

import pytest
import torch
from fairseq import options
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks import setup_task

from tests.end_to_end.commands import PLUGIN, assert_ok
from tests.end_to_end.training import ADAPTIVE, AS_IT_IS, CRITERION, OPTIMIZATION, SIZES, TASK, train

WEIGHTS = {
    "uniform": [1, 1, 1],
    "linear": [1, 2, 3],
    "sqrt": [1, 2**0.5, 3**0.5],
    "inverse-sqrt": [1, 2**-0.5, 3**-0.5],
    "inverse": [1, 1 / 2, 1 / 3],
}


@pytest.fixture(scope="session")
def tied(server, build_once, data):
    """A pre-norm model that shares one matrix among all embeddings and exits, trained with what else there is."""
    return train(
        server, build_once, "tied", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 12, "--label-smoothing", 0.1,
        "--share-all-embeddings", "--share-exit-classifiers", "--encoder-normalize-before", "--decoder-normalize-before",
        "--exit-weights", "sqrt", "--report-accuracy", "--sentence-avg", "--clip-norm", 1,
    )  # fmt: skip


def last_log(done, kind: str) -> dict:
    """The last log of *kind*, numbers as numbers, without the prefix that fairseq puts before its names."""
    log = done.json_logs(kind)[-1]
    return {name.removeprefix(f"{kind}_"): float(value) for name, value in log.items()}


@pytest.mark.parametrize("kind", ["train", "valid"])
def test_every_exits_likelihood_is_logged(trained, kind):
    log = last_log(trained.log, kind)
    likelihoods = [log[f"nll_{n}"] for n in (1, 2, 3)]
    assert "nll_4" not in log
    assert log["nll_loss"] == log["nll_3"]
    assert log["ppl"] == pytest.approx(2 ** log["nll_3"], abs=0.02)
    assert log["loss"] == pytest.approx(sum(likelihoods) / 3, abs=2e-3)


def test_training_learns(trained):
    first, last = trained.log.json_logs("valid")[0], trained.log.json_logs("valid")[-1]
    for n in (1, 2, 3):
        assert float(last[f"valid_nll_{n}"]) < float(first[f"valid_nll_{n}"]) / 2


@pytest.mark.parametrize("weighting", WEIGHTS)
def test_exit_weights(train_briefly, weighting):
    log = last_log(train_briefly(criterion__exit_weights=weighting), "valid")
    weights = WEIGHTS[weighting]
    expected = sum(w * log[f"nll_{n}"] for n, w in enumerate(weights, start=1)) / sum(weights)
    assert log["loss"] == pytest.approx(expected, abs=2e-3)


def test_label_smoothing_changes_the_loss_only(train_briefly, trained):
    """Of one and the same model; it costs most where the model is sure of itself."""
    entries = dict(checkpoint__finetune_from_model=str(trained.checkpoint), **AS_IT_IS)
    plain = last_log(train_briefly(**entries), "valid")
    smoothed = last_log(train_briefly(criterion__label_smoothing=0.2, **entries), "valid")
    assert smoothed["loss"] > plain["loss"] + 0.1
    assert [smoothed[f"nll_{n}"] for n in (1, 2, 3)] == [plain[f"nll_{n}"] for n in (1, 2, 3)]


def test_accuracy_is_logged_on_demand(tied, trained):
    assert 0 < last_log(tied.log, "valid")["accuracy"] < 100
    assert "accuracy" not in last_log(trained.log, "valid")


def test_a_shared_matrix_is_saved_once(tied):
    state = load_checkpoint_to_cpu(str(tied.checkpoint))["model"]
    assert torch.equal(state["decoder.exit_classifiers.0.projection.weight"], state["encoder.embed_tokens.weight"])
    assert not any(name.startswith("decoder.exit_classifiers.1") for name in state)


def test_separate_classifiers_are_all_trained(trained):
    state = load_checkpoint_to_cpu(str(trained.checkpoint))["model"]
    first, second, third = (state[f"decoder.exit_classifiers.{n}.projection.weight"] for n in range(3))
    assert not torch.equal(first, second) and not torch.equal(second, third)


def test_a_checkpoint_needs_no_options_to_be_decoded(decode, tied):
    done = decode(tied.checkpoint, task__exit_policy="confidence", task__exit_thresholds=0.05)
    assert len(done.hypotheses()) == 16
    assert "of 3 |" in done.output


def test_validating_a_checkpoint_gives_what_training_logged(run, data, tied):
    """fairseq-validate takes the criterion's options from the checkpoint, too."""
    options = ("--path", tied.checkpoint, "--max-tokens", 600, "--log-format", "json")
    done = assert_ok(run("fairseq-validate", data, *PLUGIN, *TASK, *options))
    (log,) = done.json_logs("valid")
    told = {name.removeprefix("valid_"): float(value) for name, value in log.items()}
    trained = last_log(tied.log, "valid")
    for name in ("loss", "nll_1", "nll_2", "nll_3", "accuracy"):
        assert told[name] == pytest.approx(trained[name], abs=2e-3), name


@pytest.mark.parametrize("policy, entries", [("fixed", {"task__exit_at": 1}), ("confidence", {}), ("auto", {})])
def test_bleu_during_training_is_that_of_generate(train_briefly, decode, trained, policy, entries):
    """``--eval-bleu`` decodes with the policy of the task's options, and writes no exit log."""
    bleu = dict(task__eval_bleu=True, task__eval_tokenized_bleu=True, task__eval_bleu_args='{"beam": 3}')
    restored = dict(checkpoint__finetune_from_model=str(trained.checkpoint), **AS_IT_IS)
    done = train_briefly(task__exit_policy=policy, **entries, **bleu, **restored)
    generated = decode(trained.checkpoint, dataset__gen_subset="valid", task__exit_policy=policy, **entries)
    (score,) = (line for line in generated.stdout.splitlines() if "BLEU4" in line)
    assert last_log(done, "valid")["bleu"] == pytest.approx(float(score.split("BLEU4 = ")[1].split(",")[0]), abs=0.02)


@pytest.mark.parametrize(
    "arch, encoder_width, decoder_width, blocks, classifiers",
    [
        ("depth_adaptive_transformer", 512, 512, 6, 6),
        ("depth_adaptive_transformer_iwslt_de_en", 512, 256, 6, 6),
        ("depth_adaptive_transformer_wmt_en_fr_big", 1024, 1024, 6, 1),
        ("depth_adaptive_transformer_tiny", 64, 64, 6, 6),
    ],
)
def test_architectures_have_their_sizes_from_the_command_line(data, arch, encoder_width, decoder_width, blocks, classifiers):
    """Built without memory behind it, from the configuration that fairseq-train would build it from."""
    command = [str(data), *PLUGIN, *TASK, *CRITERION, "--arch", arch]
    configuration = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), command))
    task = setup_task(configuration.task)
    with torch.device("meta"):
        model = task.build_model(configuration.model)
    assert model.encoder.embed_tokens.weight.size(1) == encoder_width
    assert model.decoder.exit_classifiers[0].projection.weight.size(1) == decoder_width
    assert (model.decoder.num_exits, len(model.decoder.exit_classifiers)) == (blocks, classifiers)

"""What a user can get wrong when decoding: one sentence, a non-zero exit status, nothing half-written.

One run of the real command for each place where such an error can come up. What each option accepts is tested with the
task, without commands.
"""

import pytest

from tests.end_to_end.commands import PLUGIN, assert_refused
from tests.end_to_end.training import TASK


@pytest.fixture
def generate(run, data):
    """``generate(checkpoint, *options)`` with the plugin's task."""

    def generate(checkpoint, *options):
        return run("fairseq-generate", data, *PLUGIN, *TASK, "--path", checkpoint, "--num-workers", 0, *options)

    return generate


def test_exit_outside_the_models_exits(generate, trained, tmp_path):
    done = generate(trained.checkpoint, "--exit-policy", "fixed", "--exit-at", 4, "--exit-log", "exits.jsonl")
    assert_refused(done, "--exit-at 4", "1 to 3")
    assert not done.hypotheses()
    assert list(tmp_path.iterdir()) == []


def test_wrong_number_of_thresholds(generate, trained):
    done = generate(trained.checkpoint, "--exit-policy", "confidence", "--exit-thresholds", "0.5,0.6,0.7")
    assert_refused(done, "--exit-thresholds 0.5,0.6,0.7", "3 numbers", "one number from 0 to 1, or 2 of them")


def test_unknown_policy(generate, trained):
    """argparse's own error, which has status 2 and lists the choices."""
    done = generate(trained.checkpoint, "--exit-policy", "clairvoyant")
    assert done.status == 2
    error = done.stderr.rstrip().splitlines()[-1]
    assert "clairvoyant" in error
    assert all(policy in error for policy in ("auto", "full", "fixed", "uniform", "confidence"))


def test_checkpoint_of_a_stock_transformer(generate, stock):
    done = generate(stock.checkpoint)
    assert_refused(done, "TransformerModel", "--finetune-from-model", "--task translation")


def test_ensemble_of_unequal_depths(generate, trained, shallow):
    assert_refused(generate(f"{trained.checkpoint}:{shallow.checkpoint}"), "2 and 3 exits", "equally many")


def test_truncated_checkpoint(generate, trained, tmp_path):
    whole = trained.checkpoint.read_bytes()
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(whole[: len(whole) // 2])
    assert_refused(generate(truncated), "truncated.pt", "truncated, damaged")


def test_missing_dictionary(run, data, trained, tmp_path):
    for file in data.iterdir():
        if file.name != "dict.en.txt":
            (tmp_path / file.name).symlink_to(file)
    done = run("fairseq-generate", tmp_path, *PLUGIN, *TASK, "--path", trained.checkpoint)
    assert_refused(done, "dict.en.txt", "not found")


def test_sentence_longer_than_max_source_positions(generate, trained, tmp_path):
    done = generate(trained.checkpoint, "--max-source-positions", 5, "--exit-log", "exits.jsonl")
    assert_refused(done, "5", "--skip-invalid-size-inputs-valid-test")
    assert list(tmp_path.iterdir()) == []


def test_typed_line_longer_than_max_source_positions(run, data, trained):
    """The lines before it have been translated."""
    done = run(
        "fairseq-interactive", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--max-source-positions", 5,
        stdin="der Mann\nder Mann kauft drei alte rote Bücher .\n",
    )  # fmt: skip
    assert_refused(done, "5", "--skip-invalid-size-inputs-valid-test")
    assert list(done.hypotheses()) == [0]


def test_exit_log_in_a_missing_folder(generate, trained):
    done = generate(trained.checkpoint, "--exit-log", "nowhere/exits.jsonl")
    assert_refused(done, "--exit-log nowhere/exits.jsonl", "nowhere is not a folder")
    assert not done.hypotheses(), "refused only after decoding had begun"


def test_exit_log_on_a_full_disk(generate, trained, tmp_path):
    """/dev/full takes the place of the disk: opening it works, writing does not. An earlier log stays as it was."""
    (tmp_path / "exits.jsonl").write_text("earlier\n")
    (tmp_path / "exits.jsonl.partial").symlink_to("/dev/full")
    done = generate(trained.checkpoint, "--exit-log", "exits.jsonl")
    assert_refused(done, "--exit-log exits.jsonl", "No space left on device")
    assert [file.name for file in tmp_path.iterdir()] == ["exits.jsonl"]
    assert (tmp_path / "exits.jsonl").read_text() == "earlier\n"


def test_constraints_need_interactive_use(generate, trained):
    """fairseq-generate has no way of giving them."""
    done = generate(trained.checkpoint, "--constraints", "ordered")
    assert_refused(done, "--constraints")
    assert not done.hypotheses()

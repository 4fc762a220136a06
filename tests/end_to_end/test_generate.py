"""fairseq-generate: what each exit policy prints and logs."""

import re
import subprocess

import pytest

from tests.end_to_end.commands import BIN, PLUGIN, assert_ok
from tests.end_to_end.exit_reports import check_records, check_summary, exits_of, read_log
from tests.end_to_end.training import TASK

SENTENCES = 16
POLICIES = {
    "auto": {},
    "full": {},
    "fixed": {"task__exit_at": 2},
    "uniform": {"task__exit_seed": 5},
    "confidence": {"task__exit_thresholds": "0.8,0.6"},
    "entropy": {"task__exit_entropy": 0.5},
    "margin": {"task__exit_margin": 0.6},
    "saturation": {"task__exit_saturation": 0.6},
    "patience": {"task__exit_patience": 2},
}
# The exits that tokens take, where they are not all of them.
TAKEN = {"auto": {3}, "full": {3}, "fixed": {2}, "saturation": {2, 3}, "patience": {2, 3}}


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_reports_its_exits(decode, trained, tmp_path, policy):
    done = decode(
        trained.checkpoint, task__exit_policy=policy, **POLICIES[policy],
        task__exit_log="exits.jsonl", generation__print_step=True, dataset__batch_size=5,
    )  # fmt: skip
    records = read_log(tmp_path / "exits.jsonl")
    check_records(done, records, SENTENCES)
    check_summary(done, records)
    assert {i: " ".join(map(str, record["exits"])) for i, record in records.items()} == {
        i: lines[0] for i, lines in done.lines("I").items()
    }
    assert f"exit policy {'full' if policy == 'auto' else policy} |" in done.output
    assert exits_of(records) == TAKEN.get(policy, {1, 2, 3})
    assert [file.name for file in tmp_path.iterdir()] == ["exits.jsonl"]


def test_the_command_as_users_run_it(data, trained, tmp_path):
    """In a process of its own, started as a shell starts it."""
    command = [BIN / "fairseq-generate", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--exit-policy", "confidence"]
    done = subprocess.run([*command, "--exit-log", "exits.jsonl"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(r"^H-\d+\t", done.stdout, re.MULTILINE)) == SENTENCES
    assert set(read_log(tmp_path / "exits.jsonl")) == set(range(SENTENCES))
    assert "Warning" not in done.stdout + done.stderr


def test_results_path_and_exit_log(run, data, trained, tmp_path):
    """With ``--results-path`` the translations go to a file; the log is the command's all the same."""
    assert_ok(
        run(
            "fairseq-generate", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--exit-policy", "uniform",
            "--results-path", "results", "--exit-log", "exits.jsonl", "--gen-subset", "valid",
        )
    )  # fmt: skip
    text = (tmp_path / "results" / "generate-valid.txt").read_text(encoding="utf-8")
    hypotheses = dict(re.findall(r"^H-(\d+)\t\S+\t(.*)$", text, re.MULTILINE))
    records = read_log(tmp_path / "exits.jsonl")
    assert {str(i): " ".join(record["tokens"][:-1]) for i, record in records.items()} == hypotheses


def test_full_depth_is_fairseqs_own_translation(decode, decode_stock, trained):
    """Sentences with unknown words and an empty one are among them."""
    entries = dict(generation__nbest=3, generation__lenpen=0.6)
    ours = decode(trained.checkpoint, task__exit_policy="full", **entries)
    stock = decode_stock(trained.checkpoint, **entries)
    assert ours.hypotheses() == stock.hypotheses()
    for i, scores in stock.scores().items():
        assert ours.scores()[i] == pytest.approx(scores, abs=1e-4)
    assert ours.stdout.splitlines()[-1] == stock.stdout.splitlines()[-1]  # BLEU


def test_unknown_words_and_empty_sentences_are_translated(decode, trained):
    done = decode(trained.checkpoint, task__exit_policy="confidence")
    sources = {i: lines[0] for i, lines in done.lines("S").items()}
    unknown = [i for i, source in sources.items() if "<unk>" in source]
    empty = [i for i, source in sources.items() if not source]
    assert len(unknown) == len(empty) == 1
    assert done.hypotheses()[unknown[0]][0]
    assert len(done.hypotheses()[empty[0]]) == 1


def test_an_earlier_exit_log_is_replaced(decode, trained, tmp_path):
    for policy in ("full", "uniform"):
        decode(trained.checkpoint, task__exit_policy=policy, task__exit_log="exits.jsonl")
    assert exits_of(read_log(tmp_path / "exits.jsonl")) == {1, 2, 3}


def test_uniform_exits_depend_on_the_seed_and_not_on_the_batch(decode, trained, tmp_path):
    def exits(seed, batch_size):
        decode(
            trained.checkpoint, task__exit_policy="uniform", task__exit_seed=seed, task__exit_log="exits.jsonl",
            dataset__batch_size=batch_size,
        )  # fmt: skip
        return {i: (record["tokens"], record["exits"]) for i, record in read_log(tmp_path / "exits.jsonl").items()}

    assert exits(1, 1) == exits(1, 7)
    assert exits(1, 7) != exits(2, 7)

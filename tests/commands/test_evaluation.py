"""The file of results, the comparison with fixed exits, the scores and the plot."""

import json
import os

import pytest

from depth_adaptive_fairseq.commands.evaluation.comparison import describe_gains, fixed_curve, gain_over_fixed
from depth_adaptive_fairseq.commands.evaluation.decoding import policy_options
from depth_adaptive_fairseq.commands.evaluation.results import COLUMNS, add_result, as_table, has_result, read_results
from depth_adaptive_fairseq.commands.evaluation.scoring import score
from tests.compat import processes


def row(policy, bleu, average_exit, **changes):
    values = dict.fromkeys(COLUMNS, "0")
    values.update(model="m", subset="test", policy=policy, bleu=bleu, sacrebleu=bleu, average_exit=average_exit)
    values.update(flops_per_token=2e6, tokens_per_second=100, checkpoint_sha256="abc", beam=5, sentences=3)
    return {**values, **changes}


FIXED = [row("fixed:1", 10.0, 1.0), row("fixed:2", 20.0, 2.0), row("full", 22.0, 3.0)]


def run(*arguments):
    return processes.run("depth-adaptive", *arguments)


def test_a_result_replaces_the_older_one_of_its_policy(tmp_path):
    path = tmp_path / "sub" / "results.csv"
    for each in (row("full", 1.0, 3.0), row("fixed:1", 2.0, 1.0), row("full", 3.0, 3.0, checkpoint_sha256="def")):
        add_result(path, each)
    assert [(each["policy"], each["bleu"]) for each in read_results(path)] == [("fixed:1", "2.0"), ("full", "3.0")]
    assert not list(path.parent.glob("*.partial"))


def test_a_row_is_done_only_for_its_own_checkpoint(tmp_path):
    path = tmp_path / "results.csv"
    add_result(path, row("full", 1.0, 3.0))
    rows = read_results(path)
    assert has_result(rows, row("full", 9.0, 9.0))
    assert not has_result(rows, row("full", 1.0, 3.0, checkpoint_sha256="other"))
    assert not has_result(rows, row("full", 1.0, 3.0, subset="valid"))


def test_another_csv_is_refused(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not a file of results"):
        read_results(path)


def test_gain_is_measured_against_interpolated_fixed_exits():
    curve = fixed_curve([*FIXED, row("uniform", 50.0, 1.5)])
    assert curve == [(1.0, 10.0), (2.0, 20.0), (3.0, 22.0)]
    assert gain_over_fixed(17.0, 1.5, curve) == pytest.approx(2.0)
    assert gain_over_fixed(17.0, 0.5, curve) is None


def test_rows_below_fixed_exits_are_named():
    text = describe_gains([*FIXED, row("confidence:0.5", 17.0, 1.5), row("confidence:0.9", 20.0, 2.5)])
    assert "2.00 above" in text and "1.00 below" in text and "1 of 2" in text
    assert describe_gains(FIXED) == ""


def test_table_has_a_line_for_each_row():
    assert len(as_table(FIXED).splitlines()) == 2 + len(FIXED)


@pytest.mark.parametrize(
    "specification, options",
    [
        ("full", {"exit_policy": "full"}),
        ("fixed:3", {"exit_policy": "fixed", "exit_at": "3"}),
        ("confidence:0.9,0.8", {"exit_policy": "confidence", "exit_thresholds": "0.9,0.8"}),
        ("stock", {}),
    ],
)
def test_policies_are_written_with_their_argument(specification, options):
    assert policy_options(specification) == options


def test_an_argument_for_a_policy_without_one_is_refused():
    with pytest.raises(ValueError, match="full takes no value"):
        policy_options("full:2")


def test_scores_tell_tokenised_from_detokenised_text(tmp_path):
    (tmp_path / "prepared.json").write_text(
        json.dumps({"template": {"languages": {"source": "de", "target": "en"}, "tokenize": {"lowercase": True}}})
    )
    for folder, line in (("tokenized", "he did not go to the house , she &apos;s sure .\n"), ("raw", "He did not go to the house, she's sure.\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.en").write_text(line)
    scores = score(tmp_path, "test", {0: "he did not go to the house , she &apos;s sure ."}, 1)
    assert scores.tokenised == pytest.approx(100) and scores.detokenised == pytest.approx(100)
    assert "case:lc" in scores.signature


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot_is_written(tmp_path, ending):
    for each in [*FIXED, row("confidence:0.5", 17.0, 1.5), row("confidence:0.9", 21.0, 2.5)]:
        add_result(tmp_path / "results.csv", each)
    done = run("plot", tmp_path / "results.csv", "--out", tmp_path / f"plot.{ending}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"plot.{ending}").stat().st_size > 5000


@pytest.mark.parametrize("name", ["nowhere/plot.png", "plot.xyz", "folder"])
def test_plot_that_cannot_be_written(tmp_path, name):
    (tmp_path / "folder").mkdir()
    for each in FIXED:
        add_result(tmp_path / "results.csv", each)
    done = run("plot", tmp_path / "results.csv", "--out", tmp_path / name)
    assert done.returncode == 1 and "plot: error: " in done.stderr and "Traceback" not in done.stderr
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["folder", "results.csv"]


def test_a_file_of_results_that_cannot_be_read_again_is_refused(tmp_path):
    """A pipe would be waited for, a device renamed over."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", "."):
        with pytest.raises(ValueError, match="exists and is not a regular file: give another path"):
            read_results(tmp_path / name)


def test_plot_of_a_subset_without_rows_is_refused(tmp_path):
    add_result(tmp_path / "results.csv", FIXED[0])
    done = run("plot", tmp_path / "results.csv", "--subset", "valid", "--out", tmp_path / "plot.png")
    assert done.returncode == 1 and "valid" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "plot.png").exists()


# What Unicode, or Python, takes for the end of a line, and is none in a file with a sentence a line.
NO_LINE_ENDS = "\u2028 \u2029 \u0085 \x0b \x0c \x1c \x1d \x1e \r".split(" ")


@pytest.fixture
def prepared(tmp_path):
    """A folder of three sentences with such characters in its raw text, which the tokenised text does not have."""
    (tmp_path / "prepared.json").write_text(json.dumps({"template": {"languages": {"source": "de", "target": "en"}}}))
    for folder, mark in (("tokenized", " "), ("raw", "".join(NO_LINE_ENDS))):
        (tmp_path / folder).mkdir()
        for language in ("de", "en"):
            lines = [f"a small{mark}dog {language} of sentence {number} runs home\n" for number in "123"]
            (tmp_path / folder / f"test.{language}").write_text("".join(lines), encoding="utf-8", newline="\n")
    return tmp_path


HYPOTHESES = {number - 1: f"a small dog en of sentence {number} runs home" for number in (1, 2, 3)}


def test_a_line_ends_at_its_newline_only(prepared):
    scores = score(prepared, "test", HYPOTHESES, 3)
    assert scores.tokenised == pytest.approx(100) and scores.detokenised == pytest.approx(100)


def test_scores_go_by_sentence(prepared):
    scores = score(prepared, "test", {2: HYPOTHESES[2], 0: HYPOTHESES[0]}, 3)
    assert scores.tokenised == pytest.approx(100) and scores.detokenised == pytest.approx(100)
    assert score(prepared, "test", {0: HYPOTHESES[1], 1: HYPOTHESES[0]}, 3).tokenised < 90


@pytest.mark.parametrize("folder", ["raw", "tokenized"])
def test_unequal_counts_are_an_error(prepared, folder):
    with (prepared / folder / "test.en").open("a") as file:
        file.write("one more\n")
    with pytest.raises(ValueError, match=f"{folder}.test.en has 4 lines, but the binarised test has 3 sentences"):
        score(prepared, "test", HYPOTHESES, 3)


def test_rows_of_a_file_without_the_digest_of_decoding_count(tmp_path):
    path = tmp_path / "results.csv"
    add_result(path, row("full", 1.0, 3.0, decoding_sha256="abc"))
    assert has_result(read_results(path), row("full", 1.0, 3.0, decoding_sha256="abc"))
    assert not has_result(read_results(path), row("full", 1.0, 3.0, decoding_sha256="def"))
    path.write_text("".join(line.rpartition(",")[0] + "\n" for line in path.read_text().splitlines()))  # as it was before
    assert has_result(read_results(path), row("full", 1.0, 3.0, decoding_sha256="def"))

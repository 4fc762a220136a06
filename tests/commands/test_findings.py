"""The verdicts of RESULTS.md: each finding against made-up numbers for which it holds, fails, drowns in noise or is missing."""

import csv
import shutil
from pathlib import Path

import pytest

from depth_adaptive_fairseq.commands.evaluation.results import COLUMNS
from depth_adaptive_fairseq.commands.experiments.exit_positions import add_positions
from depth_adaptive_fairseq.commands.experiments.findings import FINDINGS, answer_findings
from depth_adaptive_fairseq.commands.experiments.grid import load_grid
from depth_adaptive_fairseq.commands.experiments.measurements import EXIT_POLICIES, Measurements
from depth_adaptive_fairseq.commands.experiments.results_page import results_page
from depth_adaptive_fairseq.commands.experiments.trainings import COLUMNS as TRAINING_COLUMNS
from depth_adaptive_fairseq.commands.experiments.trainings import decoding_of
from depth_adaptive_fairseq.commands.experiments.verdicts import (
    CANNOT_BE_JUDGED,
    NOT_REPRODUCED,
    REPRODUCED,
    WITHIN_NOISE,
    all_exceed,
    falls,
    no_worse,
    rises,
    together,
)

RECIPE = Path(__file__).resolve().parents[2] / "scripts" / "recipes" / "multi30k.de-en.grid"
ALIGNED_BLEU = (30, 31, 32, 33, 34, 35)
EXITS = {0.02: 5, 0.1: 4, 0.3: 2.5, 0.5: 2.5, 0.6: 1.5, 1: 1.5, 2: 1.5}  # by lambda


class Paper:
    """Numbers by which all findings come out; a test moves some and measures.

    `shifts` adds BLEU to whole trainings, by how their name starts, or to (training, policy); `exits` sets average exits of
    decoding, `oracle` those of the oracle, `flops` FLOPs by average exit; `left_out` names trainings or (training, policy).
    """

    def __init__(self, folder):
        self.folder = folder / "recipe"
        self.folder.mkdir()
        shutil.copy(RECIPE / "grid.yaml", self.folder)
        self.shifts, self.exits, self.oracle, self.left_out = {}, {}, {}, set()
        self.tenths = {1: 4.0, 5: 3.0, 10: 1.5}
        self.probabilities = {1: 0.9, 3: 0.8, 4: 0.5, 6: 0.3}
        self.flops = lambda exit_: exit_ + 2

    def exit_of(self, training, policy):
        if policy in EXIT_POLICIES:
            return EXIT_POLICIES.index(policy) + 1
        if policy == "stock":
            return training.options["decoder-layers"]
        if policy == "uniform":
            return 3.5
        if policy.startswith("confidence"):
            return 6 * float(policy.partition(":")[2])
        for key in ((training.name, policy), training.name):
            if key in self.exits:
                return self.exits[key]
        wider = {0: 0, 1: 0.5, 4: 1, 16: 1.5}[training.options.get("oracle-kernel-width", 0)]
        lower = {"0.5": 0, "0.8": 0.5, "0.9": 1, "0.95": 1.5}.get(policy.partition(":")[2], 0)
        return min(EXITS[training.options["oracle-penalty"]] + wider + lower, 6)

    def bleu_of(self, training, policy, exit_):
        fixed = 29 + exit_
        if training.name.startswith("gamma"):
            fixed += 1 - 0.4 * (exit_ - 1)
        if training.name in ("weights-linear", "weights-inverse"):
            fixed += (exit_ - 3.5) * (0.4 if training.name == "weights-linear" else -0.4)
        starts = {"mixed-1": -3, "mixed-3": -2, "mixed-6": -1, "tok-c-geometric": 3.5, "tok-ll-geometric": 2.5}
        starts.update({"tok-c-multinomial": 1, "tok-ll-multinomial": 1, "seq-ll": 1, "seq-c": 0})
        added = [value for start, value in starts.items() if training.name.startswith(start)]
        shifted = [value for start, value in self.shifts.items() if isinstance(start, str) and training.name.startswith(start)]
        confident = 1 if policy.startswith("confidence") else 0
        return fixed + sum(added) + sum(shifted) + self.shifts.get((training.name, policy), 0) + confident

    def measure(self) -> Measurements:
        trainings, results = [], []
        for training in load_grid(self.folder / "grid.yaml").trainings:
            if training.name in self.left_out:
                continue
            row = dict.fromkeys(TRAINING_COLUMNS, "1")
            row.update(name=training.name, fingerprint=training.fingerprint, decoding=decoding_of(training))
            halting = "oracle-penalty" in training.options
            asked = self.exit_of(training, training.policies[0]) if halting else ""
            row["oracle_exit"] = self.oracle.get(training.name, asked)
            trainings.append(row)
            for policy in training.policies:
                if (training.name, policy) in self.left_out:
                    continue
                exit_ = self.exit_of(training, policy)
                values = {"bleu": self.bleu_of(training, policy, exit_), "average_exit": exit_, "flops_per_token": self.flops(exit_)}
                for subset in training.subsets:
                    named = {"model": training.name, "subset": subset, "policy": policy}
                    results.append({**dict.fromkeys(COLUMNS, 1), **named, **values})
            for policy in training.exit_positions:
                tenths = [("tenth", value, exit_, 0.5) for value, exit_ in self.tenths.items()]
                rows = tenths + [("exit", value, value, sure) for value, sure in self.probabilities.items()]
                keys = ("by", "value", "mean_exit", "mean_probability")
                for subset in training.subsets:
                    summary = [{**dict(zip(keys, each)), "tokens": 10} for each in rows]
                    add_positions(self.folder / "exit_positions.csv", training.name, subset, policy, summary)
        for name, columns, rows in (("trainings", TRAINING_COLUMNS, trainings), ("results", COLUMNS, results)):
            with (self.folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        return Measurements(self.folder)

    def answer(self, part):
        (check,) = [check for claim, check in FINDINGS.items() if part in claim]
        return check(self.measure())


@pytest.fixture
def paper(tmp_path):
    return Paper(tmp_path)


def test_all_findings_come_out_where_the_numbers_are_the_papers(paper):
    text = answer_findings(paper.measure())
    assert text.count("**reproduced**") == len(FINDINGS), text
    assert "fixed exits of `aligned-continued`" in results_page(paper.folder)


def test_nothing_is_measured_without_numbers(paper):
    text = answer_findings(Measurements(paper.folder))
    assert text.count("**not measured**") == len(FINDINGS), text


TOK_C, MULTINOMIAL = "tok-c-geometric", "tok-c-multinomial"


@pytest.mark.parametrize(
    "claim, shifts, verdict",
    [
        ("separate models", {"aligned": -0.2}, WITHIN_NOISE),
        ("separate models", {"aligned": -0.4}, NOT_REPRODUCED),
        ("beats mixed", {"mixed-3": 1.8}, WITHIN_NOISE),
        ("beats mixed", {"mixed-3": 2.4}, NOT_REPRODUCED),
        ("More sampled paths", {"mixed-6": -1.2}, WITHIN_NOISE),
        ("More sampled paths", {"mixed-6": -1.4}, NOT_REPRODUCED),
        ("Weights", {"weights-linear": 0.9}, WITHIN_NOISE),
        ("Weights", {"weights-inverse": -2}, NOT_REPRODUCED),
        ("Weights", {("weights-linear", "full"): -2}, NOT_REPRODUCED),  # a low exit alone is not enough
        ("Weights", {("weights-inverse", "full"): 0.8}, WITHIN_NOISE),
        ("Gradient scaling", {"gamma": -0.8}, WITHIN_NOISE),
        ("Gradient scaling", {"gamma": 1.4}, NOT_REPRODUCED),
        ("deepest baseline", {"baseline-6": 0.2}, WITHIN_NOISE),
        ("deepest baseline", {"baseline-6": 0.4}, NOT_REPRODUCED),
        ("best fixed exit", {("aligned-continued", "full"): 0.2}, WITHIN_NOISE),
        ("best fixed exit", {("aligned-continued", "full"): 0.4}, NOT_REPRODUCED),
        ("multinomial, correctness", {MULTINOMIAL: 2.4}, WITHIN_NOISE),
        ("multinomial, correctness", {MULTINOMIAL: 2.9}, NOT_REPRODUCED),
        ("multinomial, likelihood", {"tok-ll-multinomial": 1.5}, WITHIN_NOISE),
        ("multinomial, likelihood", {"tok-ll-multinomial": 2}, NOT_REPRODUCED),
        ("oracle for geometric", {TOK_C: -1}, WITHIN_NOISE),
        ("oracle for geometric", {TOK_C: -1.5}, NOT_REPRODUCED),
        ("sequence oracle", {"seq-c": 0.9}, WITHIN_NOISE),
        ("sequence oracle", {"seq-c": 1.4}, NOT_REPRODUCED),
        ("Confidence", {("aligned", "full"): 3}, NOT_REPRODUCED),
    ],
)
def test_verdicts_on_bleu(paper, claim, shifts, verdict):
    paper.shifts = shifts
    answer = paper.answer(claim)
    assert answer.verdict == verdict, answer.numbers


@pytest.mark.parametrize(
    "claim, left_out",
    [
        ("separate models", "baseline-4"),
        ("beats mixed", "mixed-3"),
        ("More sampled paths", ("mixed-6", "fixed:4")),
        ("Weights", "weights-inverse"),
        ("Gradient scaling", "gamma-0.7"),
        ("deepest baseline", "baseline-6"),
        ("deepest baseline", "seq-c-lambda-1"),
        ("best fixed exit", "aligned"),
        ("multinomial, correctness", ("tok-c-geometric-lambda-0.1", "geometric:0.9")),
        ("multinomial, likelihood", "tok-ll-multinomial-lambda-0.3"),
        ("oracle for geometric", "tok-ll-geometric-lambda-0.02"),
        ("sequence oracle", "seq-ll-lambda-2"),
        ("lambda gives", "seq-ll-lambda-2"),
        ("kernel", "tok-c-geometric-sigma-4"),
        ("Confidence", ("aligned", "confidence:0.9")),
        ("Fig. 8", "tok-ll-geometric-lambda-0.1"),
        ("Fig. 9", "tok-ll-geometric-lambda-0.1"),
    ],
)
def test_a_part_of_what_is_compared_is_not_enough(paper, claim, left_out):
    paper.left_out = {left_out}
    assert paper.answer(claim) is None


def of_method(method, exits):
    """Average exits of the trainings of *method* by lambda, for all of their policies."""
    return {f"{method}-lambda-{penalty}": value for penalty, value in exits.items()}


def test_a_method_whose_points_leave_at_one_exit_cannot_be_judged(paper):
    paper.exits = of_method(MULTINOMIAL, {0.1: 1.0, 0.3: 1.004, 0.6: 1.0})
    answer = paper.answer("multinomial, correctness")
    assert answer.verdict == CANNOT_BE_JUDGED
    assert answer.numbers == "All 3 points of Tok-C multinomial have average exits from 1.00 to 1.00: that is no curve."


def test_methods_are_compared_only_where_both_have_points(paper):
    paper.exits = of_method("seq-c", {0.1: 1.3, 0.3: 1.2, 1: 1.0})
    answer = paper.answer("sequence oracle")
    assert answer.verdict == CANNOT_BE_JUDGED and "no average exits in common: Seq-LL 1.50 to 4.00, Seq-C 1.00" in answer.numbers
    paper.exits["seq-c-lambda-0.1"] = 2.0
    paper.shifts = {("seq-c-lambda-1", "sequence"): 50}  # far below the range of both, so it moves little
    answer = paper.answer("sequence oracle")
    assert "at average exits 1.50 to 2.00" in answer.numbers


def test_thresholds_are_points_of_their_method(paper):
    paper.exits = of_method(TOK_C, {0.1: 1.0, 0.3: 1.0, 0.6: 1.0})
    paper.exits["tok-c-geometric-lambda-0.1", "geometric:0.95"] = 4.0
    assert "at average exits 1.50 to 4.00" in paper.answer("multinomial, correctness").numbers


def test_without_the_control_the_aligned_model_is_the_measure(paper):
    paper.left_out = {"aligned-continued"}
    assert "fixed exits of `aligned` at" in paper.answer("sequence oracle").numbers
    assert "(the control is not measured yet)" in results_page(paper.folder)
    paper.left_out = {("aligned-continued", "fixed:3")}
    assert "fixed exits of `aligned` at" in paper.answer("sequence oracle").numbers


def test_no_cheap_point_is_no_failure(paper):
    paper.exits = {training.name: 5 for training in load_grid(paper.folder / "grid.yaml").trainings}
    paper.left_out = {("aligned", policy) for policy in ("confidence:0.3", "confidence:0.5")}
    grid = (paper.folder / "grid.yaml").read_text().replace("confidence:0.3, confidence:0.5, ", "")
    (paper.folder / "grid.yaml").write_text(grid)
    assert paper.answer("deepest baseline").verdict == CANNOT_BE_JUDGED


def test_lambda_and_kernel_by_exits(paper):
    assert "Seq-LL (lambda 0.1, 0.5, 2): oracle 4.00, 2.50, 1.50; decoded 4.00" in paper.answer("lambda gives").numbers
    paper.exits = of_method(MULTINOMIAL, {0.1: 1.0, 0.3: 1.0, 0.6: 1.0})
    answer = paper.answer("lambda gives")
    assert answer.verdict == REPRODUCED and "decoded 1.00, 1.00, 1.00 (constant)" in answer.numbers
    paper.exits = of_method(MULTINOMIAL, {0.1: 1.5, 0.3: 1.6, 0.6: 1.0})
    assert paper.answer("lambda gives").verdict == NOT_REPRODUCED
    paper.exits, paper.oracle = {}, {"seq-ll-lambda-2": 3}
    assert paper.answer("lambda gives").verdict == NOT_REPRODUCED
    paper.exits, paper.oracle = {"tok-c-geometric-sigma-4": 3}, {}
    answer = paper.answer("kernel")
    assert answer.verdict == NOT_REPRODUCED and "Tok-C geometric (sigma 0, 1, 4): oracle" in answer.numbers


def test_confidence_that_is_not_dear(paper):
    paper.flops = lambda exit_: exit_
    assert paper.answer("Confidence").verdict == NOT_REPRODUCED


def test_figures_of_the_exit_logs(paper):
    answer = paper.answer("Fig. 8")
    assert "`tok-ll-geometric-lambda-0.3` with `geometric:0.5` 4.00, 2.83, 1.50" in answer.numbers
    paper.tenths = {1: 2.85, 5: 4.15, 10: 1.5}
    assert paper.answer("Fig. 8").verdict == WITHIN_NOISE
    paper.tenths = {1: 1.5, 5: 3.0, 10: 1.5}
    assert paper.answer("Fig. 8").verdict == NOT_REPRODUCED
    paper.tenths = {1: 1.01, 5: 1.0, 10: 1.0}
    assert paper.answer("Fig. 8").verdict == CANNOT_BE_JUDGED
    paper.probabilities = {1: 0.52, 6: 0.5}
    assert paper.answer("Fig. 9").verdict == WITHIN_NOISE
    paper.probabilities = {1: 0.4, 6: 0.5}
    assert paper.answer("Fig. 9").verdict == NOT_REPRODUCED
    paper.probabilities = {1: 0.4, 2: 0.5}
    assert paper.answer("Fig. 9").verdict == CANNOT_BE_JUDGED


def test_verdicts():
    assert all_exceed([0.3, 2]) == REPRODUCED
    assert all_exceed([0.29, 2]) == WITHIN_NOISE
    assert all_exceed([-0.3, 2]) == NOT_REPRODUCED
    assert [no_worse(value) for value in (0, -0.29, -0.3)] == [REPRODUCED, WITHIN_NOISE, NOT_REPRODUCED]
    assert rises([1, 1.01, 2, 1.98, 3]) == falls([3, 2, 1]) == REPRODUCED
    assert rises([1, 2, 1.5, 3]) == falls([1, 2]) == NOT_REPRODUCED
    assert rises([1, 1.04, 1, 1.04]) is None and falls([1, 1, 1]) is None
    assert rises([1.03, 1, 1.04, 1.06]) == WITHIN_NOISE
    assert together([REPRODUCED, None]) == REPRODUCED and together([None]) == CANNOT_BE_JUDGED
    assert together([REPRODUCED, WITHIN_NOISE, NOT_REPRODUCED]) == NOT_REPRODUCED

"""fairseq-interactive: sentences that come one buffer at a time."""

import re

import pytest

from tests.end_to_end.commands import PLUGIN, Finished, assert_ok
from tests.end_to_end.exit_reports import check_records, exits_of, read_log
from tests.end_to_end.training import TASK

# Of different lengths, so that batches are not in the order of the input; one with unknown words, one empty.
LINES = [
    "der Mann kauft heute drei alte Stühle .",
    "die Frau sieht rote Äpfel .",
    "ein Koch",
    "",
    "der Astronaut malt zwei kleine Bilder .",
    "das Kind sucht am Montag schwere Kisten .",
    "unser Nachbar trägt oft zehn schöne Taschen .",
]


def check_sentence_summaries(done: Finished, records: dict) -> None:
    """Each sentence has a summary with its number, average exit and exits, in place of one for all."""
    pattern = r"sentence (\d+) \| exit policy \w+ \| average exit (\S+) of 3 .* per token ([\d ]+)$"
    summaries = re.findall(pattern, done.output, re.MULTILINE)
    told = {int(i): (average, exits) for i, average, exits in summaries}
    assert told == {
        i: (f"{record['average_exit']:.3f}", " ".join(map(str, record["exits"]))) for i, record in records.items()
    }
    assert len(re.findall("exit policy", done.output)) == len(records)


def test_the_command_with_several_buffers(run, data, trained, tmp_path):
    """Sentences are numbered from 0 through all buffers, in the log as in the output; the last buffer is not full."""
    done = assert_ok(
        run(
            "fairseq-interactive", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--buffer-size", 3, "--batch-size", 2,
            "--exit-policy", "confidence", "--exit-thresholds", 0.7, "--exit-log", "exits.jsonl",
            stdin="".join(f"{line}\n" for line in LINES),
        )
    )  # fmt: skip
    records = read_log(tmp_path / "exits.jsonl")
    check_records(done, records, len(LINES))
    check_sentence_summaries(done, records)
    assert list(done.hypotheses()) == list(range(len(LINES)))
    assert done.lines("S")[6] == [LINES[6]]
    assert [file.name for file in tmp_path.iterdir()] == ["exits.jsonl"]


@pytest.mark.parametrize(
    "policy, entries, taken",
    [
        ("auto", {}, {3}),
        ("full", {}, {3}),
        ("fixed", {"task__exit_at": 1}, {1}),
        ("uniform", {}, {1, 2, 3}),
        ("confidence", {"task__exit_thresholds": "0.9,0.6"}, {1, 2, 3}),
    ],
)
def test_each_policy(converse, trained, tmp_path, policy, entries, taken):
    done = converse(trained.checkpoint, LINES, task__exit_policy=policy, task__exit_log="exits.jsonl", **entries)
    records = read_log(tmp_path / "exits.jsonl")
    check_records(done, records, len(LINES))
    check_sentence_summaries(done, records)
    assert exits_of(records) == taken


@pytest.mark.parametrize("policy", ["uniform", "confidence"])
def test_sentences_are_translated_as_by_generate(converse, decode, data, trained, policy):
    """Neither the command nor the batches that sentences are in make a difference."""
    lines = (data.parent / "raw" / "test.de").read_text(encoding="utf-8").splitlines()
    typed = converse(trained.checkpoint, lines, task__exit_policy=policy, interactive__buffer_size=5, dataset__batch_size=3)
    generated = decode(trained.checkpoint, task__exit_policy=policy)
    assert typed.hypotheses() == generated.hypotheses()


def test_constraints(converse, trained):
    """A translation holds the words it is told to hold, and every token has its exit."""
    done = converse(
        trained.checkpoint, ["der Mann kauft rote Äpfel .\tchairs", "die Frau malt .\tten"], generation__constraints="ordered",
        task__exit_policy="confidence", task__exit_log="exits.jsonl", generation__beam=6,
    )  # fmt: skip
    assert done.lines("C") == {0: ["chairs"], 1: ["ten"]}
    assert "chairs" in done.hypotheses()[0][0].split()
    assert "ten" in done.hypotheses()[1][0].split()


def test_without_any_input_there_is_no_half_written_log(converse, trained, tmp_path):
    converse(trained.checkpoint, [], task__exit_log="exits.jsonl")
    assert {file.name for file in tmp_path.iterdir()} <= {"exits.jsonl", "typed.txt"}

"""What a run tells about its exits, from hand-made hypotheses."""

import json

import pytest
import torch

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.cost import DecoderSizes, full_depth_flops, sentence_flops
from depth_adaptive_fairseq.exits.registry import POLICIES
from depth_adaptive_fairseq.tasks.inference_report import InferenceReport
from tests.small_models import small_dictionary, small_model

DICTIONARY = small_dictionary()
MODELS = [small_model(DICTIONARY)]
SIZES = DecoderSizes.of(MODELS[0])
W0 = DICTIONARY.nspecial


def hypothesis(tokens, exits):
    return {
        "tokens": torch.tensor(tokens + [DICTIONARY.eos()]),
        "exits": torch.tensor(exits),
        "steps": " ".join(map(str, exits)),
        "positional_scores": -torch.arange(1.0, len(exits) + 1) / 3,
    }


FIRST = hypothesis([W0, W0 + 1], [1, 3, 2])
SECOND = hypothesis([W0 + 2], [1, 1])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def summaries(caplog):
    return [message for message in caplog.messages if "exit policy" in message]


def test_the_log_holds_one_record_a_sentence(path):
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY, str(path))
    report.add([4, 2], [5, 3], [FIRST, SECOND])
    report.finish(summarise=False)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "id": 4,
        "tokens": ["w0", "w1", "</s>"],
        "exits": [1, 3, 2],
        "scores": [-0.333333, -0.666667, -1.0],
        "average_exit": 2.0,
        "policy": "uniform",
        "num_exits": 3,
        "flops": sentence_flops(SIZES, POLICIES["uniform"], [1, 3, 2], 5),
        "full_depth_flops": full_depth_flops(SIZES, 3, 5),
    }
    assert list(second.values())[:5] == [2, ["w2", "</s>"], [1, 1], [-0.333333, -0.666667], 1.0]


def test_the_summary_counts_tokens_not_sentences(caplog):
    caplog.set_level("INFO")
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY)
    report.add([0], [5], [FIRST])
    report.add([1], [3], [SECOND])
    report.finish(summarise=True)
    (summary,) = summaries(caplog)
    assert "average exit 1.600 of 3" in summary
    assert "exits 1:60.0% 2:20.0% 3:20.0%" in summary


def test_a_summary_is_not_repeated_where_nothing_came_since(caplog):
    """The hub interface may take batches again and again."""
    caplog.set_level("INFO")
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY)
    report.finish(summarise=True)
    assert summaries(caplog) == []
    report.add([0], [5], [FIRST])
    report.finish(summarise=True)
    report.finish(summarise=True)
    assert len(summaries(caplog)) == 1
    report.add([1], [3], [SECOND])
    report.finish(summarise=True)
    assert "average exit 1.600" in summaries(caplog)[1]


def test_a_sentences_summary_is_of_that_sentence_alone(caplog):
    caplog.set_level("INFO")
    report = InferenceReport(POLICIES["confidence"], MODELS, DICTIONARY)
    report.add([0], [3], [SECOND])
    report.summarise_sentence(1, 5, FIRST)
    (summary,) = summaries(caplog)
    assert summary.startswith("sentence 1 | exit policy confidence | average exit 2.000 of 3")
    assert summary.endswith("per token 1 3 2")


def test_until_the_end_the_log_has_another_name(path):
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY, str(path))
    report.add([0], [5], [FIRST])
    assert not path.exists()
    assert len(path.with_name("log.jsonl.partial").read_text().splitlines()) == 1, "readable while the run goes on"
    report.finish(summarise=False)
    assert [each.name for each in path.parent.iterdir()] == ["log.jsonl"]


def test_sentences_after_the_end_are_appended(path):
    """fairseq-interactive ends its batches with every buffer."""
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY, str(path))
    for number, each in enumerate((FIRST, SECOND)):
        report.add([number], [5], [each])
        report.finish(summarise=False)
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [0, 1]
    assert [each.name for each in path.parent.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("where", ["missing/log.jsonl", "."])
def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path, where):
    with pytest.raises(DepthAdaptiveError, match="--exit-log"):
        InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY, str(tmp_path / where))
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_sentences_leaves_nothing_behind(path):
    InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY, str(path))
    assert not list(path.parent.iterdir())


def test_no_log_without_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = InferenceReport(POLICIES["uniform"], MODELS, DICTIONARY)
    report.add([0], [5], [FIRST])
    report.finish(summarise=False)
    assert list(tmp_path.iterdir()) == []

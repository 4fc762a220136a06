"""--quantize through fairseq-generate and the hub interface."""

import pytest

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel

# How far a hypothesis' score, the mean log-probability (base 2) of its tokens, may move.
TOLERANCES = {"float16": 0.01, "int8": 0.3}


def scores(done) -> list:
    return [float(lines[0].split("\t")[0]) for _, lines in sorted(done.lines("H").items())]


@pytest.mark.parametrize("quantization", TOLERANCES)
def test_scores_stay_near_those_of_float32(decode, trained, quantization):
    expected = decode(trained.checkpoint, task__exit_policy="full")
    found = decode(trained.checkpoint, task__exit_policy="full", task__quantize=quantization)
    assert scores(found) != scores(expected)  # it is not float32
    assert scores(found) == pytest.approx(scores(expected), abs=TOLERANCES[quantization])


def test_adaptive_policies_decode_quantised_weights(decode, trained):
    done = decode(trained.checkpoint, task__exit_policy="confidence", task__quantize="int8")
    assert "exit policy confidence |" in done.output


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"generation__score_reference": True}, "--quantize int8 was given with --score-reference"),
        ({"common__fp16": True}, "--quantize int8 was given for a model in float16 on cpu"),
    ],
)
def test_combinations_that_cannot_be_are_refused(decode, trained, entries, message):
    with pytest.raises(DepthAdaptiveError, match=message):
        decode(trained.checkpoint, task__exit_policy="full", task__quantize="int8", **entries)


def test_hub(data, trained):
    hub = DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data)
    )
    sentence = (data.parent / "raw" / "test.de").read_text(encoding="utf-8").splitlines()[0]
    assert hub.translate(sentence, quantize="float16") == hub.translate(sentence)
    with pytest.raises(DepthAdaptiveError, match="--quantize int4 was given; choose one of none, float16, int8"):
        hub.translate(sentence, quantize="int4")

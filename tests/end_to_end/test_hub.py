"""The hub interface: translating from Python."""

import pytest
from fairseq.models.transformer import TransformerModel

from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel


@pytest.fixture(scope="module")
def hub(trained, data):
    return DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data)
    )


@pytest.fixture(scope="module")
def sentences(data):
    return (data.parent / "raw" / "test.de").read_text(encoding="utf-8").splitlines()


def exits(hub, sentences, **options):
    """The exits of each best hypothesis, which has as many as it has tokens."""
    hypotheses = [each[0] for each in hub.generate([hub.encode(sentence) for sentence in sentences], **options)]
    for hypothesis in hypotheses:
        assert hypothesis["exits"].shape == hypothesis["tokens"].shape
    return [hypothesis["exits"].tolist() for hypothesis in hypotheses]


@pytest.mark.parametrize("policy", ["full", "uniform", "confidence"])
def test_translations_are_those_of_the_command(hub, decode, trained, sentences, policy):
    translated = hub.translate(sentences, beam=3, exit_policy=policy)
    generated = decode(trained.checkpoint, task__exit_policy=policy)
    assert translated == [generated.hypotheses()[i][0] for i in range(len(sentences))]


def test_a_single_sentence_gives_a_single_translation(hub, sentences):
    translation = hub.translate(sentences[0], exit_policy="confidence", exit_thresholds=0.9)
    assert [translation] == hub.translate(sentences[:1], exit_policy="confidence", exit_thresholds=0.9)


def test_keywords_choose_the_exits(hub, sentences):
    flat = [n for each in exits(hub, sentences, exit_policy="fixed", exit_at=2) for n in each]
    assert set(flat) == {2}
    assert {n for each in exits(hub, sentences) for n in each} == {3}
    everywhere = exits(hub, sentences, exit_policy="confidence", exit_thresholds=0.0)
    assert {n for each in everywhere for n in each} == {1}
    second = exits(hub, sentences, exit_policy="confidence", exit_thresholds=[1.0, 0.0])
    assert {n for each in second for n in each} == {2}
    assert exits(hub, sentences, exit_policy="confidence", exit_thresholds="1.0,0.0") == second


def test_keywords_override_the_tasks_options(trained, data, sentences):
    """Options given when loading hold until a call says otherwise."""
    hub = DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data), exit_policy="fixed", exit_at=1
    )
    assert {n for each in exits(hub, sentences) for n in each} == {1}
    assert {n for each in exits(hub, sentences, exit_at=2) for n in each} == {2}
    assert {n for each in exits(hub, sentences, exit_policy="full") for n in each} == {3}
    assert {n for each in exits(hub, sentences) for n in each} == {1}


@pytest.mark.parametrize(
    "options, parts",
    [
        (dict(exit_policy="clairvoyant"), ["clairvoyant", "full, fixed, uniform, confidence"]),
        (dict(exit_policy="fixed"), ["--exit-at", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at=4), ["--exit-at 4", "1 to 3"]),
        (dict(exit_policy="confidence", exit_thresholds=[0.5, 0.5, 0.5]), ["3 numbers"]),
        (dict(exit_policy="confidence", exit_thresholds=2), ["outside 0 to 1"]),
        (dict(exit_policy="confidence", exit_treshold=0.5), ["exit_treshold", "exit_thresholds"]),
        (dict(beem=3), ["beem", "did you mean beam"]),
        (dict(nbest=2), ["nbest", "does nothing"]),
        (dict(beam=0), ["--beam 0", "1 or more"]),
        (dict(temperature=0.0), ["--temperature 0.0"]),
        (dict(sampling=True, sampling_topk=10**6), ["--sampling-topk 1000000", "the target dictionary"]),
    ],
    ids=str,
)
def test_wrong_keywords(hub, sentences, options, parts):
    with pytest.raises(ValueError) as raised:
        hub.translate(sentences[0], **options)
    assert raised.value.is_user_error
    for part in parts:
        assert part in str(raised.value)


SKIP = dict(skip_invalid_size_inputs=True)
LONG = "die Frau malt heute zwei alte schwere Kisten ."


@pytest.fixture(params=["ours", "fairseq's"])
def narrow_hub(request, trained, stock, data):
    """A hub interface that takes sentences of 7 words at most."""
    ours = request.param == "ours"
    model, checkpoint = (DepthAdaptiveTransformerModel, trained) if ours else (TransformerModel, stock)
    hub = model.from_pretrained(str(checkpoint.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data))
    hub.max_positions = (8, 8)
    return hub


def test_inputs_that_are_too_long_are_skipped_in_place(narrow_hub, caplog):
    short, long, other = "der Mann kauft drei Stühle .", LONG, "ein Koch sucht Äpfel ."
    alone = {text: narrow_hub.translate(text) for text in (short, other)}
    assert all(alone.values()) and alone[short] != alone[other]
    caplog.clear()
    assert narrow_hub.translate([long, short, long, other], **SKIP) == ["", alone[short], "", alone[other]]
    (warning,) = (record.getMessage() for record in caplog.records if "inputs are longer" in record.getMessage())
    assert warning.startswith("2 of 4 inputs") and "number 0, 2, counted from 0" in warning
    assert narrow_hub.translate(long, **SKIP) == ""
    assert narrow_hub.translate([long, long], **SKIP) == ["", ""]
    assert narrow_hub.translate([short, other], **SKIP) == [alone[short], alone[other]]


def test_hypotheses_of_skipped_inputs(narrow_hub, caplog):
    """What is printed goes with its input, and one input alone has the options of many."""
    short, long = (narrow_hub.encode(text) for text in ("ein Koch sucht Äpfel .", LONG))
    caplog.set_level("INFO")
    found = narrow_hub.generate([long, short], verbose=True, **SKIP)
    assert found[0] == [] and len(found[1]) == 5
    assert [message for message in caplog.messages if message.startswith("S\t")] == [f"S\t{narrow_hub.string(short)}"]
    assert narrow_hub.generate(long, **SKIP) == []
    assert narrow_hub.generate(short, **SKIP)[0]["tokens"].tolist() == found[1][0]["tokens"].tolist()
    with pytest.raises(Exception, match="long|size"):
        narrow_hub.generate([long, short])
    with pytest.raises(ValueError, match="skip_invalid_size_inputs was given to score"):
        narrow_hub.score(["ein Koch"], **SKIP)


@pytest.mark.parametrize("options, part", [(dict(exit_polcy="full"), "exit_policy"), (dict(replace_unk=""), "hub interface")], ids=str)
def test_wrong_keywords_when_loading(trained, data, options, part):
    with pytest.raises(ValueError, match=f"{next(iter(options))}.*{part}") as raised:
        DepthAdaptiveTransformerModel.from_pretrained(str(trained.folder), "checkpoint_last.pt", str(data), **options)
    assert raised.value.is_user_error


def test_right_keywords_when_loading(trained, data):
    """Options of the model, of a subword model that is not used, of generation, and of fairseq in general."""
    DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), "checkpoint_last.pt", str(data), dropout=0.0, sentencepiece_model="unused", beam=3, fp16=False,
        generation={"max_len_b": 7}, tokenizer="space",
    )  # fmt: skip

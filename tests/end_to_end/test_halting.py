"""Models with a halting classifier: trained, validated and decoded through fairseq's commands and the hub interface."""

import pytest

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel
from tests.end_to_end.commands import PLUGIN, assert_ok
from tests.end_to_end.exit_reports import check_records, check_summary, exits_of, read_log
from tests.end_to_end.test_interactive import check_sentence_summaries
from tests.end_to_end.training import AS_IT_IS, HALTING, RESET, TASK

SENTENCES = 16


def exits_per_sentence(records: dict) -> list:
    return [records[i]["exits"] for i in sorted(records)]


@pytest.fixture(scope="module")
def sentences(data):
    return (data.parent / "raw" / "test.de").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("kind", HALTING)
def test_the_exit_loss_is_logged_and_learnt(halting_trained, kind):
    for split in ("train", "valid"):
        logs = halting_trained(kind).log.json_logs(split)
        first, last = ({name: float(value) for name, value in log.items()} for log in (logs[0], logs[-1]))
        assert last[f"{split}_exit_loss"] < first[f"{split}_exit_loss"]
        assert 1 <= last[f"{split}_oracle_exit"] <= 3
        assert 1 <= last[f"{split}_predicted_exit"] <= 3
        assert 0.5 < last[f"{split}_exit_agreement"] <= 1


@pytest.mark.parametrize("kind", HALTING)
def test_generate_reports_the_classifiers_exits(decode, halting_trained, tmp_path, kind):
    """Asked for by name, or found by ``auto``."""
    checkpoint, seen = halting_trained(kind).checkpoint, []
    for policy in (kind, "auto"):
        done = decode(
            checkpoint, task__exit_policy=policy, task__exit_log="exits.jsonl", generation__print_step=True,
            dataset__batch_size=5,
        )  # fmt: skip
        records = read_log(tmp_path / "exits.jsonl")
        check_records(done, records, SENTENCES)
        check_summary(done, records)
        assert f"exit policy {kind} |" in done.output
        seen.append(exits_per_sentence(records))
    assert seen[0] == seen[1]
    assert exits_of(records) >= {1, 2}
    if kind == "sequence":
        assert all(len(set(exits)) == 1 for exits in seen[0])
    else:
        assert any(len(set(exits)) > 1 for exits in seen[0])


def test_auto_is_the_default_and_other_policies_go_past_the_classifier(decode, halting_trained, tmp_path):
    checkpoint = halting_trained("geometric").checkpoint
    assert "exit policy geometric |" in decode(checkpoint).output
    decode(checkpoint, task__exit_policy="full", task__exit_log="exits.jsonl")
    assert exits_of(read_log(tmp_path / "exits.jsonl")) == {3}


def test_thresholds_of_a_geometric_classifier(decode, halting_trained, tmp_path):
    """At a threshold of 0 all stop at once, and at 1 none stops."""
    for thresholds, expected in (("0", {1}), ("1", {3}), ("1,0", {2})):
        decode(
            halting_trained("geometric").checkpoint, task__exit_policy="geometric", task__exit_thresholds=thresholds,
            task__exit_log="exits.jsonl",
        )  # fmt: skip
        assert exits_of(read_log(tmp_path / "exits.jsonl")) == expected, thresholds


@pytest.mark.parametrize("kind", HALTING)
def test_batches_make_no_difference(decode, halting_trained, kind):
    def translations(batch_size):
        done = decode(halting_trained(kind).checkpoint, generation__print_step=True, dataset__batch_size=batch_size)
        return done.hypotheses(), done.lines("I")

    assert translations(1) == translations(6)


@pytest.mark.parametrize("kind", HALTING)
def test_interactive(converse, decode, halting_trained, sentences, tmp_path, kind):
    """The exits of each sentence in its buffer, and the translations and exits of fairseq-generate."""
    checkpoint = halting_trained(kind).checkpoint
    typed = converse(checkpoint, sentences, task__exit_policy=kind, task__exit_log="typed.jsonl", interactive__buffer_size=5)
    typed_records = read_log(tmp_path / "typed.jsonl")
    check_records(typed, typed_records, SENTENCES)
    check_sentence_summaries(typed, typed_records)
    generated = decode(checkpoint, task__exit_log="exits.jsonl")
    assert typed.hypotheses() == generated.hypotheses()
    assert exits_per_sentence(typed_records) == exits_per_sentence(read_log(tmp_path / "exits.jsonl"))


@pytest.mark.parametrize("kind", HALTING)
def test_hub(decode, data, halting_trained, sentences, tmp_path, kind):
    trained = halting_trained(kind)
    hub = DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data)
    )
    generated = decode(trained.checkpoint, task__exit_log="exits.jsonl")
    expected = [generated.hypotheses()[i][0] for i in range(SENTENCES)]
    assert hub.translate(sentences, beam=3) == hub.translate(sentences, beam=3, exit_policy=kind) == expected
    found = hub.generate([hub.encode(sentence) for sentence in sentences], beam=3)
    exits = [hypotheses[0]["exits"].tolist() for hypotheses in found]
    assert exits == exits_per_sentence(read_log(tmp_path / "exits.jsonl"))


def test_validating_a_checkpoint_gives_what_training_logged(run, data, halting_trained):
    """fairseq-validate takes the exit loss's options from the checkpoint, too."""
    trained = halting_trained("geometric")
    options = ("--path", trained.checkpoint, "--max-tokens", 600, "--log-format", "json")
    [log] = assert_ok(run("fairseq-validate", data, *PLUGIN, *TASK, *options)).json_logs("valid")
    expected = trained.log.json_logs("valid")[-1]
    for name in ("loss", "exit_loss", "oracle_exit", "predicted_exit", "exit_agreement"):
        assert float(log[f"valid_{name}"]) == pytest.approx(float(expected[f"valid_{name}"]), abs=2e-3), name


def test_ensembles(decode, halting_trained, trained, tmp_path):
    """Members need classifiers of one kind."""
    geometric = halting_trained("geometric").checkpoint
    decode(f"{geometric}:{geometric}", task__exit_policy="auto", task__exit_log="exits.jsonl")
    twice = exits_per_sentence(read_log(tmp_path / "exits.jsonl"))
    decode(geometric, task__exit_policy="auto", task__exit_log="exits.jsonl")
    assert twice == exits_per_sentence(read_log(tmp_path / "exits.jsonl"))
    for other in (trained, halting_trained("sequence")):
        with pytest.raises(DepthAdaptiveError, match="--halting"):
            decode(f"{geometric}:{other.checkpoint}", task__exit_policy="auto")


@pytest.mark.parametrize("kind", HALTING)
def test_a_model_without_the_classifier_is_refused(decode, trained, tmp_path, kind):
    with pytest.raises(DepthAdaptiveError, match=f"--exit-policy {kind} .*--halting none.*--halting {kind}"):
        decode(trained.checkpoint, task__exit_policy=kind, task__exit_log="exits.jsonl")
    assert list(tmp_path.iterdir()) == []


def going_on(how: str, checkpoint) -> dict:
    """Entries of a configuration for a training that starts from *checkpoint*."""
    if how == "finetune":
        return dict(checkpoint__finetune_from_model=str(checkpoint))
    return dict(checkpoint__restore_file=str(checkpoint), **RESET)


@pytest.mark.parametrize("how", ["finetune", "restore"])
@pytest.mark.parametrize(
    "first, second",
    [("none", "geometric"), ("sequence", "multinomial"), ("multinomial", "geometric"), ("geometric", "none")],
)
def test_going_on_from_a_model_with_another_classifier(train_briefly, trained, halting_trained, first, second, how):
    """The first validation after an update that changes nothing: the exits are as good as they were."""
    before = trained if first == "none" else halting_trained(first)
    done = train_briefly(
        **going_on(how, before.checkpoint), model__halting=second,
        criterion__exit_loss_weight=0.0 if second == "none" else 1.0, **AS_IT_IS,
    )  # fmt: skip
    log, expected = done.json_logs("valid")[0], before.log.json_logs("valid")[-1]
    assert log["valid_num_updates"] == "1"
    assert ("valid_exit_loss" in log) == (second != "none")
    for n in (1, 2, 3):
        assert float(log[f"valid_nll_{n}"]) == pytest.approx(float(expected[f"valid_nll_{n}"]), abs=2e-3)
    assert (f"the checkpoint's halting classifier ({first}, " in done.output) == (first != "none")
    if first == "none":
        assert "halting classifier" not in done.output

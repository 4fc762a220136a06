"""fairseq's generation options under exit policies."""

import pytest

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.end_to_end.exit_reports import check_records, check_summary, exits_of, read_log

SENTENCES = 16
UNKNOWN = 14  # the sentence with unknown words
EMPTY = 15  # the sentence without words, which has nothing to be aligned to
OPTIONS = {
    "n-best": dict(nbest=3),
    "sampling": dict(sampling=True, nbest=3),
    "top-k sampling": dict(sampling=True, nbest=3, sampling_topk=4),
    "top-p sampling": dict(sampling=True, nbest=3, sampling_topp=0.7),
    "diverse beams": dict(diverse_beam_groups=3, nbest=3),
    "diverse siblings": dict(diversity_rate=0.8, nbest=3),
    "length penalty": dict(lenpen=3.0, nbest=3),
    "unnormalized": dict(unnormalized=True),
    "at least": dict(min_len=10),
    "at most": dict(max_len_b=4),
    "source length": dict(match_source_len=True),
    "prefix": dict(prefix_size=2, nbest=3),
    "whole prefix": dict(prefix_size=20, nbest=3),
    "no repetition": dict(no_repeat_ngram_size=1),
    "temperature": dict(temperature=3.0),
    "unknown word penalty": dict(unkpen=-8.0),
    "beam of one": dict(beam=1),
}


def of_generation(options: dict) -> dict:
    return {f"generation__{name}": value for name, value in options.items()}


@pytest.mark.parametrize("name", OPTIONS)
def test_at_full_depth_options_do_what_they_do_in_fairseq(decode, decode_stock, trained, name):
    entries = of_generation(OPTIONS[name])
    ours = decode(trained.checkpoint, task__exit_policy="full", **entries)
    stock = decode_stock(trained.checkpoint, **entries)
    assert ours.hypotheses() == stock.hypotheses()
    for i, scores in stock.scores().items():
        assert ours.scores()[i] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_under_an_adaptive_policy(decode, trained, tmp_path, name):
    done = decode(
        trained.checkpoint, task__exit_policy="confidence", task__exit_thresholds="0.7", task__exit_log="exits.jsonl",
        generation__print_step=True, **of_generation(OPTIONS[name]),
    )  # fmt: skip
    records = read_log(tmp_path / "exits.jsonl")
    check_records(done, records, SENTENCES)
    check_summary(done, records)
    for i, hypotheses in done.hypotheses().items():
        exits = [line.split() for line in done.lines("I")[i]]
        assert [len(each) for each in exits] == [len(hypothesis.split()) + 1 for hypothesis in hypotheses]
        scores = done.scores()[i]
        assert scores == sorted(scores, reverse=True)
    assert exits_of(records) > {1}, "the policy leaves too uniformly for the test to mean anything"


def test_forced_prefixes_start_the_translation(decode, trained):
    """Their tokens have exits like others; a prefix that holds the whole reference leaves nothing to choose."""
    done = decode(trained.checkpoint, task__exit_policy="uniform", **of_generation(dict(prefix_size=20)))
    references = {i: lines[0] for i, lines in done.lines("T").items()}
    references[UNKNOWN] = references[UNKNOWN].replace("<<unk>>", "<unk>")
    assert {i: hypotheses[0] for i, hypotheses in done.hypotheses().items()} == references


def test_a_prefix_as_long_as_the_translation_may_be(decode, trained):
    """One that is empty, among others: fairseq's search ended in an assertion at the greatest length."""
    done = decode(trained.checkpoint, task__exit_policy="uniform", **of_generation(dict(prefix_size=3, max_len_b=3)))
    references = {i: lines[0].split()[:3] for i, lines in done.lines("T").items()}
    assert {i: hypotheses[0].split() for i, hypotheses in done.hypotheses().items() if i != UNKNOWN} == {
        i: reference for i, reference in references.items() if i != UNKNOWN
    }


def test_sampling_is_repeatable(decode, trained):
    entries = dict(task__exit_policy="uniform", **of_generation(OPTIONS["sampling"]))
    first, second = (decode(trained.checkpoint, **entries) for _ in range(2))
    other_seed = decode(trained.checkpoint, common__seed=2, **entries)
    assert first.lines("H") == second.lines("H")
    assert first.lines("H") != other_seed.lines("H")


def test_an_ensemble_at_full_depth(decode, decode_stock, trained, other_trained):
    """Members of other widths."""
    paths = f"{trained.checkpoint}:{other_trained.checkpoint}"
    ours, stock = decode(paths, task__exit_policy="full"), decode_stock(paths)
    assert ours.hypotheses() == stock.hypotheses()
    for i, scores in stock.scores().items():
        assert ours.scores()[i] == pytest.approx(scores, abs=1e-4)


def test_an_ensemble_leaves_at_one_exit(decode, trained, other_trained, tmp_path):
    paths = f"{trained.checkpoint}:{other_trained.checkpoint}"
    entries = dict(task__exit_policy="confidence", task__exit_thresholds="0.7", task__exit_log="exits.jsonl")
    done = decode(paths, **entries)
    together = read_log(tmp_path / "exits.jsonl")
    check_records(done, together, SENTENCES)
    check_summary(done, together)
    decode(trained.checkpoint, **entries)
    alone = read_log(tmp_path / "exits.jsonl")
    assert [record["exits"] for record in together.values()] != [record["exits"] for record in alone.values()]


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_alignments_at_full_depth(decode, decode_stock, trained, tmp_path, kind):
    """One for each token, and the exits are told all the same."""
    done = decode(
        trained.checkpoint, task__exit_policy="full", generation__print_alignment=kind, task__exit_log="exits.jsonl",
    )  # fmt: skip
    assert done.lines("A") == decode_stock(trained.checkpoint, generation__print_alignment=kind).lines("A")
    assert [i for i, lines in done.lines("A").items() if not lines[0]] in ([], [EMPTY])
    records = read_log(tmp_path / "exits.jsonl")
    check_records(done, records, SENTENCES)
    check_summary(done, records)


def test_scoring_references_at_full_depth(decode, decode_stock, trained, tmp_path):
    done = decode(
        trained.checkpoint, task__exit_policy="full", generation__score_reference=True, task__exit_log="exits.jsonl",
    )  # fmt: skip
    assert done.lines("P") == decode_stock(trained.checkpoint, generation__score_reference=True).lines("P")
    check_summary(done, read_log(tmp_path / "exits.jsonl"))


@pytest.mark.parametrize(
    "options, hint",
    [
        (dict(print_alignment="hard"), "--exit-policy full"),
        (dict(print_alignment="soft"), "--exit-policy full"),
        (dict(score_reference=True), "--exit-policy full"),
        (dict(iter_decode_max_iter=4), "leave the option out"),
        (dict(iter_decode_with_beam=2), "leave the option out"),
        (dict(iter_decode_force_max_iter=True), "leave the option out"),
        (dict(iter_decode_eos_penalty=1.0), "leave the option out"),
        (dict(retain_iter_history=True), "leave the option out"),
    ],
    ids=str,
)
def test_options_that_do_not_go_with_exits(decode, trained, tmp_path, options, hint):
    """Refused before anything is decoded or written."""
    (option,) = options
    with pytest.raises(DepthAdaptiveError, match=f"--{option.replace('_', '-')}.*{hint}"):
        decode(trained.checkpoint, task__exit_policy="uniform", task__exit_log="exits.jsonl", **of_generation(options))
    assert list(tmp_path.iterdir()) == []

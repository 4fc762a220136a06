"""Scores go by sentence, and every option of fairseq-generate is honoured by the commands, or refused."""

import argparse
import csv
import logging

import pytest
from fairseq import options
from fairseq_cli import generate

from depth_adaptive_fairseq.commands import evaluate as evaluate_command
from depth_adaptive_fairseq.commands.benchmarking.decoding_worker import Worker
from depth_adaptive_fairseq.commands.evaluation.decoding import decode
from depth_adaptive_fairseq.commands.evaluation.generation_options import BATCHING, CTRANSLATE2, HONOURED
from depth_adaptive_fairseq.commands.evaluation.loading import DEFAULTS, load
from tests.end_to_end.prepared import prepared_folder, with_references

USUAL = ("--beam", "2", "--remove-bpe", "subword_nmt", "--gen-subset", "valid", "--max-len-b", "9")


@pytest.fixture(autouse=True)
def logging_is_enabled():
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def shared_folder(data, tmp_path_factory):
    return prepared_folder(data, tmp_path_factory.mktemp("data") / "prepared")


@pytest.fixture(scope="module")
def usual(shared_folder, trained):
    """What is decoded without other options."""
    return decode(load_with(shared_folder, trained), "full", progress=False)


@pytest.fixture
def folder(data, tmp_path):
    """A folder of the test's own."""
    return prepared_folder(data, tmp_path / "prepared")


@pytest.fixture
def evaluate(folder, trained, tmp_path, capsys):
    """``evaluate(*options)``: the rows of results and what was printed."""

    def evaluate(*given):
        words = [folder, "--path", trained.checkpoint, *USUAL, "--results", tmp_path / "results.csv", *given]
        evaluate_command.main([str(each) for each in words])
        with (tmp_path / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file)), capsys.readouterr().out

    return evaluate


def load_with(folder, trained, *given):
    """What ``evaluate`` loads."""
    words = [str(folder), "--path", str(trained.checkpoint), *USUAL, *map(str, given)]
    return load(evaluate_command.parse_arguments(words))


SKIPPING = ("--max-source-positions", "7", "--skip-invalid-size-inputs-valid-test")


def test_a_skipped_sentence_shifts_no_score(usual, evaluate, folder):
    """References that are the model's own translations: 100, whatever is skipped."""
    assert sorted(usual.hypotheses) == list(range(30)) and usual.sentences == 30
    with_references(folder, "valid", [usual.hypotheses[each] for each in range(30)])
    (row,), text = evaluate()
    assert (row["sentences"], float(row["bleu"]), float(row["sacrebleu"])) == ("30", pytest.approx(100), pytest.approx(100))
    assert "skipped" not in text

    (row,), text = evaluate(*SKIPPING)  # measured again: other sentences are decoded
    left = int(row["sentences"])
    assert 1 < left < 29
    assert (float(row["bleu"]), float(row["sacrebleu"])) == (pytest.approx(100), pytest.approx(100))
    assert f"{30 - left} of 30 sentences are longer than (7, 1024) tokens and are skipped: the scores are of the other {left}" in text


def test_unequal_counts_are_refused(evaluate, folder):
    with_references(folder, "valid", ["a"] * 29)
    with pytest.raises(ValueError, match=r"valid.en has 29 lines, but the binarised valid has 30 sentences"):
        evaluate()


def test_all_sentences_too_long(evaluate):
    with pytest.raises(ValueError, match="no sentence of valid was translated: all 30 were skipped"):
        evaluate("--max-source-positions", "0", "--skip-invalid-size-inputs-valid-test")


def test_other_options_are_measured_anew(evaluate):
    """A row that other options gave is not taken for today's, nor is today's measured twice."""

    def row(*given):
        rows, _ = evaluate("--policies", "fixed", *given)
        assert len(rows) == 1  # an older one is replaced
        return rows[0]

    first = row("--exit-at", "1")
    assert row("--exit-at", "1") == first  # the seconds, too
    shorter = row("--exit-at", "1", "--max-len-b", "3")
    assert shorter["bleu"] != first["bleu"] and shorter["average_exit"] == "1.0"
    assert row("--exit-at", "3")["average_exit"] == "3.0"


# Groups of options, each of which changes what is decoded, and the options that decide nothing, or what is decoded at all.
GROUPS = [
    ["--prefix-size", "2", "--lenpen", "0.3", "--max-len-a", "0.5", "--max-len-b", "6", "--min-len", "3", "--nbest", "2",
     "--quiet", "--num-batch-buckets", "2", "--required-seq-len-multiple", "4"],
    ["--model-overrides", "{'activation_fn': 'tanh'}", "--temperature", "1.4", "--unkpen", "-2", "--unnormalized",
     "--exit-policy", "fixed", "--exit-at", "2", "--quantize", "int8"],
    ["--sampling", "--sampling-topk", "5", "--nbest", "2", "--seed", "3", "--max-tokens", "60",
     "--required-batch-size-multiple", "1"],
    ["--sampling", "--sampling-topp", "0.7", "--nbest", "2", "--batch-size", "3", "--data-buffer-size", "2"],
    ["--diverse-beam-groups", "2", "--diverse-beam-strength", "3", "--truncate-source", "--max-source-positions", "6"],
    ["--diversity-rate", "2", "--min-len", "8", "--no-repeat-ngram-size", "2", *SKIPPING, "--max-target-positions", "60"],
    ["--match-source-len", "--lm-path", "LM", "--lm-weight", "0.7"],
]  # fmt: skip
ELSEWHERE = {
    # every run
    "data", "path", "gen_subset", "beam", "post_process", "task", "user_dir", "num_workers", "help",
    # the same translations
    "cpu", "decoding_kernels", "no_progress_bar", "source_lang", "target_lang", "train_subset", "dataset_impl",
    "left_pad_source", "left_pad_target",
    # of types that the tests of precision and of exit policies are about
    "fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16", "exit_thresholds", "exit_entropy", "exit_margin",
    "exit_saturation", "exit_patience", "exit_seed", "retain_dropout", "retain_dropout_modules", "no_seed_provided",
}  # fmt: skip


def generated(folder, checkpoint, given, capsys):
    """The best translations by sentence id of fairseq-generate itself."""
    words = [str(folder), "--path", str(checkpoint), *DEFAULTS, *USUAL, *given]
    parser = options.get_generation_parser(default_task="depth_adaptive_translation")
    arguments = options.parse_args_and_arch(parser, words)
    arguments.quiet = False  # or there is nothing to compare with
    capsys.readouterr()
    generate.main(arguments)
    best = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("H-"):
            name, _, text = line.split("\t")
            best.setdefault(int(name[2:]), text)
    return best


@pytest.fixture
def language_model(data, monkeypatch):
    """``--lm-path LM`` is a random language model."""
    import torch
    from fairseq import checkpoint_utils
    from fairseq.data import Dictionary
    from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig

    dictionary = Dictionary.load(str(data / "dict.en.txt"))
    config = TransformerLanguageModelConfig(decoder_layers=1, decoder_embed_dim=8, decoder_ffn_embed_dim=8, decoder_attention_heads=1)
    config.tokens_per_sample = config.max_target_positions = 100
    torch.manual_seed(1)
    model = TransformerLanguageModel.build_model(
        config, type("Task", (), {"source_dictionary": dictionary, "target_dictionary": dictionary})
    ).eval()
    original = checkpoint_utils.load_model_ensemble

    def load_model_ensemble(paths, **more):
        return ([model], None) if paths == ["LM"] else original(paths, **more)

    monkeypatch.setattr(checkpoint_utils, "load_model_ensemble", load_model_ensemble)


@pytest.mark.parametrize("given", GROUPS, ids=lambda given: given[0][2:])
def test_options_do_what_they_do_in_fairseq_generate(given, usual, shared_folder, trained, capsys, request):
    if "LM" in given:
        request.getfixturevalue("language_model")
    expected = generated(shared_folder, trained.checkpoint, given, capsys)
    policy = "full"
    if "--exit-policy" in given:  # the commands' way is --policies
        place = given.index("--exit-policy")
        policy, given = given[place + 1], given[:place] + given[place + 2 :]
    found = decode(load_with(shared_folder, trained, *given), policy, progress=False)
    assert found.hypotheses == expected
    assert found.hypotheses != {each: usual.hypotheses[each] for each in expected}  # so they are options that matter


def parser_of(task, *more):
    """fairseq-generate's whole parser, the task's options and those of the registries with it."""
    from depth_adaptive_fairseq.commands.evaluation.loading import generation_parser

    parser = generation_parser("evaluate", "", "", task)
    options.parse_args_and_arch(parser, [*DEFAULTS, "folder", *more])
    return parser


def another_value(action, usual):
    """Words that give *action* another value than *usual*."""
    if action.nargs == 0:
        return [] if usual else [action.option_strings[0]]
    if action.choices:
        value = next(each for each in action.choices if str(each) != str(usual))
    elif isinstance(usual, (int, float)) or action.type in (int, float):
        value = (usual or 0) + 3
    else:
        value = f"{usual}3"
    return [f"{action.option_strings[0]}={value}"]


@pytest.mark.parametrize("task", ["depth_adaptive_translation", "translation"])
def test_every_option_is_honoured_or_refused(task):
    """The parser is walked: an option that fairseq or the plugin gains is in one of the lists of this test, or refused."""
    parser = parser_of(task)
    usual = parser.parse_args([*DEFAULTS, "folder"])
    options_of_groups = {action.dest for action in parser._actions for word in sum(GROUPS, []) if word in action.option_strings}
    known = {action.dest for action in parser._actions}
    walked = 0
    for action in parser._actions:
        if not action.option_strings or action.dest in ("help", "task"):
            continue
        words = another_value(action, getattr(usual, action.dest))
        if not words:
            continue
        walked += 1
        given = ["--task", task, "folder", "--path", "a.pt", *words]
        if action.dest in HONOURED | BATCHING:
            assert action.dest in options_of_groups | ELSEWHERE, f"{action.dest} is said to be honoured; what shows it?"
            continue
        try:
            evaluate_command.parse_arguments(given)
        except (ValueError, RuntimeError, KeyError) as error:  # fairseq's own refuse some combinations
            assert action.option_strings[0] in str(error), error
        else:
            raise AssertionError(f"{words} was taken")
    assert walked > 150
    if task == "depth_adaptive_translation":
        assert HONOURED | BATCHING <= known
    assert CTRANSLATE2 <= HONOURED


def worker(engine, folder, trained, *given):
    words = [str(folder), "--path", str(trained.checkpoint), *USUAL, *given]
    return Worker(argparse.Namespace(engine=engine, threads=1, sentences=0, ctranslate2_model=None, options=words))


def test_the_benchmark_honours_them_too(shared_folder, trained):
    """A forced prefix, other types of layers, and sentences that are skipped."""
    given = ("--prefix-size", "2", "--model-overrides", "{'activation_fn': 'tanh'}", *SKIPPING)
    benchmarked = worker("full", shared_folder, trained, *given)
    found = {}
    for batch in benchmarked.batches(3):
        for number, translation in zip(batch["id"].tolist(), benchmarked.engine.translate(batch)):
            found[number] = benchmarked.task.target_dictionary.string(translation.tokens, "subword_nmt")
    assert found == decode(load_with(shared_folder, trained, *given), "full", progress=False).hypotheses
    assert 1 < len(found) < 29


@pytest.mark.parametrize(
    "engine, given, sentence",
    [
        ("full", ("--max-tokens", "500"), "--max-tokens 500 was given, but the batches are those of --batch-size"),
        ("full", ("--quantize", "int8"), "--quantize int8 was given, but weights of another precision are asked for by an @"),
        ("full", ("--exit-policy", "fixed"), "--exit-policy fixed was given, but engines and policies are named by themselves"),
        ("stock", ("--score-reference",), "--score-reference was given, but it scores the references in place"),
        ("ct2", ("--sampling",), "--sampling was given, but ct2 does not know it"),
        ("ct2", ("--prefix-size", "1"), "--prefix-size 1 was given, but ct2 does not know it"),
    ],
)
def test_what_the_benchmark_refuses(engine, given, sentence, shared_folder, trained):
    with pytest.raises(ValueError, match=sentence):
        worker(engine, shared_folder, trained, *given)


@pytest.mark.parametrize("overrides", ["{", "3", "{'a': b}"])
def test_model_overrides_are_a_dictionary(overrides, shared_folder, trained):
    with pytest.raises(ValueError, match="--model-overrides .* was given; it takes a dictionary"):
        load_with(shared_folder, trained, "--model-overrides", overrides)

"""Generation options that cannot work, or that do nothing, are refused before anything is translated."""

from argparse import Namespace

import pytest
from fairseq.data import Dictionary
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf

from depth_adaptive_fairseq.compat.generation_options import check, check_command


def said(function, *arguments):
    with pytest.raises(ValueError) as info:
        function(*arguments)
    assert info.value.is_user_error
    return str(info.value)


@pytest.mark.parametrize(
    "name, values",
    {
        "beam": [0, -1, 1.5, "five", True, float("nan")],
        "nbest": [0, -1, "all"],
        "min_len": [-1, "1"],
        "max_len_a": [-0.5, float("inf"), float("nan"), "1"],
        "max_len_b": ["200", 1.5],
        "prefix_size": [-1],
        "no_repeat_ngram_size": [-2],
        "lenpen": [float("nan"), float("inf"), "x"],
        "unkpen": [float("nan")],
        "temperature": [0, 0.0, -1.0, float("nan"), float("inf")],
        "sampling_topp": [1.5, float("nan")],
        "diverse_beam_strength": [float("nan")],
        "diversity_rate": [float("inf")],
        "lm_weight": [float("nan")],
    }.items(),
)
def test_numbers_out_of_range(name, values):
    for value in values:
        text = said(check, Namespace(**{name: value}))
        assert text.startswith(f"--{name.replace('_', '-')} {value} was given; it must be a")


@pytest.mark.parametrize(
    "options, parts",
    [
        (dict(beam=2, nbest=3), ["--nbest 3", "--beam 2"]),
        (dict(nbest=6), ["--nbest 6", "--beam 5"]),
        (dict(min_len=201), ["--min-len 201", "--max-len-b 200"]),
        (dict(max_len_b=0), ["--min-len 1", "--max-len-b 0"]),
        (dict(max_len_b=-1, min_len=0), ["--max-len-b -1"]),
        (dict(sampling_topk=3), ["--sampling-topk", "--sampling"]),
        (dict(sampling_topp=0.5), ["--sampling-topp", "--sampling"]),
        (dict(sampling=True, match_source_len=True), ["--sampling and --match-source-len"]),
        (dict(sampling=True, diverse_beam_groups=5), ["--sampling and --diverse-beam-groups"]),
        (dict(beam=5, diverse_beam_groups=2), ["--diverse-beam-groups 2", "--beam 5"]),
        (dict(sampling=True, sampling_topk=9), ["--sampling-topk 9", "5 words"]),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, parts):
    dictionary = Dictionary()
    dictionary.add_symbol("word")
    text = said(check, Namespace(**options), dictionary)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    "options",
    [
        {}, dict(beam=1, nbest=1, min_len=0, max_len_b=0), dict(max_len_a=1.2, max_len_b=-1, min_len=3), dict(lenpen=-1, unkpen=-100),
        dict(unkpen=float("inf")), dict(sampling=True, sampling_topk=5, sampling_topp=1.0), dict(beam=4, diverse_beam_groups=2),
        dict(temperature=0.01, beam=None), dict(diversity_rate=0.5, lm_weight=-1), dict(match_source_len=True),
    ],
    ids=str,
)  # fmt: skip
def test_what_works_is_let_through(options):
    check(Namespace(**options))


def command(**entries):
    cfg = OmegaConf.structured(FairseqConfig())
    OmegaConf.set_struct(cfg, False)
    cfg.common_eval.path = "model.pt"
    for name, value in entries.items():
        OmegaConf.update(cfg, name.replace("__", "."), value)
    return cfg


@pytest.mark.parametrize(
    "entries, parts",
    [
        (dict(common_eval__path=None), ["--path is missing"]),
        (dict(generation__sampling=True), ["--sampling", "--nbest 5"]),
        (dict(common_eval__model_overrides="{'a': }"), ["--model-overrides", "dictionary"]),
        (dict(common_eval__model_overrides="__import__('os')"), ["--model-overrides"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("interactive", [False, True])
def test_commands(entries, parts, interactive):
    text = said(check_command, command(**entries), interactive)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    "entries, part",
    [
        (dict(dataset__batch_size=3), "--buffer-size 1"),
        (dict(generation__lm_path="lm.pt"), "--lm-path"),
        (dict(generation__prefix_size=2), "--prefix-size"),
        (dict(generation__score_reference=True), "--score-reference"),
        (dict(generation__sacrebleu=True), "--sacrebleu"),
        (dict(common_eval__results_path="here"), "--results-path"),
        (dict(generation__print_alignment="soft"), "--print-alignment soft"),
    ],
    ids=str,
)
def test_what_does_nothing_in_interactive_use(entries, part):
    assert part in said(check_command, command(**entries), True)
    check_command(command(**entries), False)

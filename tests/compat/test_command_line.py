"""What a command line lacks, or cannot have, is said in one sentence; so are missing models of tokenisers and subwords."""

from argparse import Namespace

import pytest
from fairseq import checkpoint_utils, options
from fairseq.data import encoders
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import validate
from omegaconf import OmegaConf


def refused(function, *arguments):
    with pytest.raises((ValueError, OSError)) as raised:
        function(*arguments)
    assert raised.value.is_user_error
    return str(raised.value)


def validation(*command):
    return options.parse_args_and_arch(options.get_validation_parser(), ["data", *command])


def test_validation_without_a_task():
    assert "--task is missing" in refused(validation, "--path", "model.pt")


@pytest.mark.parametrize(
    "command, part",
    [
        (["--max-tokens", "5"], "--path is missing"),
        (["--path", "x.pt"], "--batch-size"),
        (["--path", "x.pt", "--max-tokens", "5", "--model-overrides", "x"], "--model-overrides x"),
    ],
)
def test_validation_without_what_it_needs(command, part):
    assert part in refused(validate.main, validation("--task", "translation", *command))


def test_a_folder_for_a_checkpoint(tmp_path):
    said = refused(checkpoint_utils.load_model_ensemble_and_task, [str(tmp_path)])
    assert f"checkpoint {tmp_path} is a folder" in said


def test_a_tokeniser_without_its_languages():
    args = options.parse_args_and_arch(options.get_generation_parser(), ["data", "--path", "x", "--tokenizer", "moses"])
    assert refused(convert_namespace_to_omegaconf, args) == "--source-lang is missing, which --tokenizer needs"


@pytest.mark.parametrize(
    "build, cfg, parts",
    [
        ("build_bpe", dict(bpe="sentencepiece", sentencepiece_model="nowhere.model"), ["sentencepiece", "nowhere.model not found"]),
        ("build_bpe", dict(bpe="sentencepiece", sentencepiece_model=__file__), ["sentencepiece", "could not parse"]),
        ("build_bpe", OmegaConf.create({"_name": "sentencepiece"}), ["sentencepiece", "--sentencepiece-model is missing"]),
        ("build_bpe", "sentencepiece", ["sentencepiece", "was not named"]),
        ("build_bpe", dict(bpe="nonsense"), ["nonsense", "sentencepiece"]),
        ("build_tokenizer", dict(tokenizer="mosis"), ["mosis", "moses"]),
    ],
    ids=str,
)
def test_models_of_subwords_and_tokenisers(build, cfg, parts):
    said = refused(getattr(encoders, build), Namespace(**cfg) if type(cfg) is dict else cfg)
    for part in parts:
        assert part in said


def test_encoders_that_can_be_had():
    assert encoders.build_tokenizer(Namespace(tokenizer="space")).encode("a  b") == "a b"
    assert encoders.build_bpe(Namespace(bpe=None)) is None

"""The models, the data and the options of an evaluation, from a command line like fairseq-generate's."""

import argparse
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence

import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

PLUGIN = argparse.Namespace(user_dir="depth_adaptive_fairseq")
DEFAULTS = ("--user-dir", PLUGIN.user_dir, "--max-tokens", "4096", "--remove-bpe", "sentencepiece")


def generation_parser(description: str, usage: str) -> argparse.ArgumentParser:
    """fairseq-generate's parser with the plugin's task; a script adds its own options and gives it to :func:`parse`."""
    utils.import_user_module(PLUGIN)
    parser = options.get_generation_parser(default_task="depth_adaptive_translation")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.usage = description, usage
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str], defaults: Sequence[str] = ()) -> argparse.Namespace:
    """Parse *arguments*, which come behind :data:`DEFAULTS` and *defaults* and so before them."""
    return options.parse_args_and_arch(parser, input_args=[*DEFAULTS, *defaults, *arguments])


@dataclass
class Loaded:
    """What is needed to decode a subset again and again.

    Attributes:
        task: with the subset's data loaded.
        models: the ensemble, ready for inference.
        cfg: fairseq's generation configuration.
        paths: the checkpoints.
    """

    task: object
    models: list
    cfg: object
    paths: List[str]

    @property
    def data_bin(self) -> Path:
        """The (first) data folder."""
        return Path(utils.split_paths(self.cfg.task.data)[0])

    @property
    def model_name(self) -> str:
        """The name of the (first) checkpoint's folder."""
        return Path(self.paths[0]).resolve().parent.name

    def identity(self) -> Dict[str, object]:
        """What is decoded, as columns of a file of results."""
        digests = (hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] for path in self.paths)
        return {
            "subset": self.cfg.dataset.gen_subset,
            "beam": self.cfg.generation.beam,
            "checkpoint_sha256": "+".join(digests),
        }


def load(args: argparse.Namespace) -> Loaded:
    """Load what *args* name, and silence fairseq's log.

    Raises:
        ValueError: no checkpoint is named, or the data folder was not made by ``prepare_data.py``, so it has no references
            to score against.
        FileNotFoundError, ValueError: fairseq's, where it does not find or accept something.
    """
    if args.path is None:
        raise ValueError("no model was given: name its checkpoint with --path")
    logging.disable(logging.INFO)
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    loaded = Loaded(task, [], cfg, utils.split_paths(cfg.common_eval.path))
    if not (loaded.data_bin / "prepared.json").is_file():
        raise ValueError(
            f"{loaded.data_bin} has no prepared.json, so it has no references to score against: "
            "give a data folder that prepare_data.py made"
        )
    loaded.models, _ = checkpoint_utils.load_model_ensemble(loaded.paths, task=task)
    task.load_dataset(cfg.dataset.gen_subset)
    for model in loaded.models:
        if cfg.common.fp16:
            model.half()
        if torch.cuda.is_available() and not cfg.common.cpu:
            model.cuda()
        model.prepare_for_inference_(cfg)
    return loaded

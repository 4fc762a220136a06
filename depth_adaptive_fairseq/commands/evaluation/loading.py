"""The models, the data and the options of an evaluation, from a command line like fairseq-generate's."""

import argparse
import ast
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Collection, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from depth_adaptive_fairseq import register
from depth_adaptive_fairseq.commands import program
from depth_adaptive_fairseq.commands.evaluation.generation_options import BATCHING, HONOURED, refuse_unhonoured

DEFAULTS = ("--max-tokens", "4096", "--remove-bpe", "sentencepiece", "--num-workers", "0")


def generation_parser(verb: str, description: str, usage: str, task: str = "depth_adaptive_translation") -> argparse.ArgumentParser:
    """fairseq-generate's parser with the plugin's task, or another; *verb* adds its own options and gives it to :func:`parse`."""
    register()
    parser = options.get_generation_parser(default_task=task)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.prog, parser.description = program(verb), description
    parser.usage = f"{parser.prog} {usage}"
    parser.options_of_fairseq = {action.dest for action in parser._actions}
    return parser


def parse(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str],
    defaults: Sequence[str] = DEFAULTS,
    honoured: Collection[str] = HONOURED | BATCHING,
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> argparse.Namespace:
    """Parse *arguments*, which come behind *defaults* and so before them.

    Args:
        parser: of :func:`generation_parser`, with a command's own options added.
        honoured: fairseq's options that the command honours.
        reasons: why the command does not honour an option, where there is more to say than for all of them.

    Raises:
        ValueError: an option of fairseq's that is not honoured.
    """
    own = {action.dest for action in parser._actions} - parser.options_of_fairseq
    args = options.parse_args_and_arch(parser, input_args=[*defaults, *arguments])
    refuse_unhonoured(parser, arguments, {*honoured, *own}, reasons, defaults)
    return args


@dataclass
class Loaded:
    """What is needed to decode a subset again and again.

    Attributes:
        task: with the subset's data loaded.
        models: the ensemble, ready for inference.
        language_model: of ``--lm-path``, or None.
        cfg: fairseq's generation configuration.
        paths: the checkpoints.
        random_state: what every decoding starts sampling from, as fairseq-generate does; None for what comes.
    """

    task: object
    models: list
    language_model: Optional[object]
    cfg: object
    paths: List[str]
    random_state: Optional[dict] = None

    @property
    def data_bin(self) -> Path:
        """The (first) data folder."""
        return Path(utils.split_paths(self.cfg.task.data)[0])

    @property
    def model_name(self) -> str:
        """The name of the (first) checkpoint's folder."""
        return Path(self.paths[0]).resolve().parent.name

    def describe_skipped(self) -> str:
        """A sentence for people about what ``--skip-invalid-size-inputs-valid-test`` skips; empty if that is nothing."""
        dataset, ids = self.task.dataset(self.cfg.dataset.gen_subset), []
        if self.cfg.dataset.skip_invalid_size_inputs_valid_test:
            _, ids = dataset.filter_indices_by_size(np.arange(len(dataset)), self.max_positions)
        if not len(ids):
            return ""
        return (
            f"{len(ids)} of {len(dataset)} sentences are longer than {self.max_positions} tokens and are skipped: "
            f"the scores are of the other {len(dataset) - len(ids)}"
        )

    @property
    def max_positions(self):
        """See :func:`max_positions`."""
        return max_positions(self.task, self.models)

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
        ValueError: no checkpoint is named, or the data folder was not made by ``depth-adaptive prepare``, so it has no references
            to score against.
        FileNotFoundError, ValueError: fairseq's, where it does not find or accept something.
    """
    if args.path is None:
        raise ValueError("no model was given: name its checkpoint with --path")
    logging.disable(logging.INFO)
    cfg = convert_namespace_to_omegaconf(args)
    seeded = seed_everything(cfg)
    task = tasks.setup_task(cfg.task)
    loaded = Loaded(task, [], None, cfg, utils.split_paths(cfg.common_eval.path))
    if not (loaded.data_bin / "prepared.json").is_file():
        raise ValueError(
            f"{loaded.data_bin} has no prepared.json, so it has no references to score against: "
            "give a data folder that depth-adaptive prepare made"
        )
    loaded.models, loaded.language_model = load_models(task, cfg)
    loaded.random_state = utils.get_rng_state() if seeded else None
    return loaded


def seed_everything(cfg) -> bool:
    """Seed what sampling draws from, as fairseq-generate does before it loads its models; returns whether it does."""
    if cfg.common.seed is None or cfg.generation.no_seed_provided:
        return False
    np.random.seed(cfg.common.seed)
    utils.set_torch_seed(cfg.common.seed)
    return True


def load_models(task, cfg) -> Tuple[list, Optional[object]]:
    """The ensemble of ``--path`` and the language model of ``--lm-path``, ready for inference; loads the subset, too.

    Raises:
        FileNotFoundError, ValueError: fairseq's, where it does not find or accept something.
    """
    overrides = read_overrides(cfg.common_eval.model_overrides)
    models, trained = checkpoint_utils.load_model_ensemble(
        utils.split_paths(cfg.common_eval.path), arg_overrides=overrides, task=task
    )
    task.load_dataset(cfg.dataset.gen_subset, task_cfg=trained.task)
    language_models = []
    if cfg.generation.lm_path is not None:
        overrides = {**overrides, "data": cfg.task.data}
        language_models, _ = checkpoint_utils.load_model_ensemble([cfg.generation.lm_path], arg_overrides=overrides, task=None)
    for model in (*models, *language_models):
        if cfg.common.fp16:
            model.half()
        if cfg.common.bf16:
            model.bfloat16()
        if torch.cuda.is_available() and not cfg.common.cpu:
            model.cuda()
        model.prepare_for_inference_(cfg)
    return models, (language_models or [None])[0]


def max_positions(task, models):
    """How many tokens of source and target *task* and all *models* allow."""
    return utils.resolve_max_positions(task.max_positions(), *[model.max_positions() for model in models])


def read_overrides(text: str) -> dict:
    """The dictionary of ``--model-overrides``.

    Raises:
        ValueError: *text* is none.
    """
    try:
        overrides = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        overrides = None
    if not isinstance(overrides, dict):
        raise ValueError(
            f"--model-overrides {text} was given; it takes a dictionary as Python writes it, for example {{'dropout': 0.1}}"
        )
    return overrides

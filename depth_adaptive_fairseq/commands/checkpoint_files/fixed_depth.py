"""From a checkpoint with N exits to one of fairseq's own ``transformer`` that ends behind one of them."""

import re
from argparse import Namespace
from dataclasses import fields
from typing import Dict

from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterionConfig
from fairseq.tasks.translation import TranslationConfig
from omegaconf import OmegaConf
from torch import Tensor

from depth_adaptive_fairseq.models.configuration import FlatTransformerConfig, to_transformer_config
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder

CRITERION = "label_smoothed_cross_entropy"
# Tasks whose models see sentences as they are; others add tokens of their own to the dictionary or to the sentence.
TASKS = ("depth_adaptive_translation", "translation")

_BLOCK = re.compile(r"decoder\.layers\.(\d+)\.")
_CLASSIFIERS = "decoder.exit_classifiers."
_OURS = (_CLASSIFIERS, "decoder.halting.")


def to_fixed_depth(state: dict, exit_at: int) -> dict:
    """The checkpoint of a stock ``transformer`` made of the first *exit_at* decoder blocks and that exit's classifier.

    It holds tensors, plain containers and an ``argparse.Namespace`` only, no optimiser state, and the options of a flat
    command line under ``args``, which is where other programs look for them. *state* is not changed; tensors are shared.

    Args:
        state: a checkpoint, as fairseq's ``load_checkpoint_to_cpu`` gives it.
        exit_at: n, from 1 to N.

    Raises:
        ValueError: *state* is not of a depth-adaptive Transformer for translation, or has no exit *exit_at*.
    """
    configuration = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    if not any(name.startswith(_CLASSIFIERS) for name in state["model"]):
        raise ValueError(
            f"the checkpoint's model is a {_name_of(configuration['model'])}, which has no exits: "
            "give a checkpoint of a depth_adaptive_transformer"
        )
    options = Namespace(**configuration["model"])
    if _name_of(configuration["task"]) not in TASKS:
        raise ValueError(
            f"the checkpoint was trained with --task {_name_of(configuration['task'])}, which fairseq's own transformer cannot "
            f"be given here: give a checkpoint of --task {' or '.join(TASKS)}"
        )
    if not 1 <= exit_at <= options.decoder_layers:
        raise ValueError(f"--exit-at {exit_at} was given; the model's exits are 1 to {options.decoder_layers}")
    updates = state["optimizer_history"][-1]["num_updates"]
    history = {"criterion_name": "LabelSmoothedCrossEntropyCriterion", "optimizer_name": "", "lr_scheduler_state": {}}
    return {
        "args": stock_arguments(configuration, exit_at),
        "model": stock_parameters(state["model"], exit_at),
        "optimizer_history": [{**history, "num_updates": updates}],
        "last_optimizer_state": None,
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
    }


def stock_parameters(parameters: Dict[str, Tensor], exit_at: int) -> Dict[str, Tensor]:
    """The parameters of blocks 1 to *exit_at* and of that exit's classifier, by the names of fairseq's decoder."""
    shared = not any(name.startswith(f"{_CLASSIFIERS}1.") for name in parameters)
    classifier = f"{_CLASSIFIERS}{0 if shared else exit_at - 1}."
    kept = {}
    for name, tensor in parameters.items():
        block = _BLOCK.match(name)
        if not name.startswith(_OURS) and (block is None or int(block.group(1)) < exit_at):
            kept[name] = tensor
    for stock, ours in DepthAdaptiveDecoder.STOCK_NAMES.items():
        for kind in ("weight", "bias"):
            tensor = parameters.get(f"{classifier}{ours}.{kind}")
            if tensor is not None:
                kept[f"decoder.{stock}.{kind}"] = tensor
    return kept


def stock_arguments(configuration: dict, exit_at: int) -> Namespace:
    """The flat options of ``--arch transformer --task translation`` that say what *configuration* says, *exit_at* deep.

    Args:
        configuration: fairseq's, as plain containers.
    """
    model, task = Namespace(**configuration["model"]), configuration["task"]
    values = {
        option.name: getattr(model, option.name, option.default)
        for option in fields(FlatTransformerConfig)
        if option.name != "_name"
    }
    nested = to_transformer_config(model)
    values.update(
        decoder_layers=exit_at, decoder_input_dim=nested.decoder.input_dim, decoder_output_dim=nested.decoder.output_dim
    )
    values.update(encoder_embed_path=None, decoder_embed_path=None)  # the parameters hold what was read from there
    criterion = configuration.get("criterion") or {}
    for config_class, given in ((TranslationConfig, task), (LabelSmoothedCrossEntropyCriterionConfig, criterion)):
        for option in fields(config_class):
            # The model's --max-source-positions are its own. --eval-bleu is for training.
            if option.name in given and option.name not in values and not option.name.startswith(("_", "eval_")):
                values[option.name] = given[option.name]
    return Namespace(arch="transformer", task="translation", criterion=CRITERION, **values)


def _name_of(options) -> str:
    """What fairseq registers a model or task as, from its *options*: a dictionary, or an older program's namespace."""
    options = options if isinstance(options, dict) else vars(options)
    return options.get("_name") or options.get("arch") or options.get("task")

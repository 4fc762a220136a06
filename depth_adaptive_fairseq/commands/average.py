"""Average the parameters of several checkpoints of one training run.

    depth-adaptive average --inputs checkpoints/checkpoint8.pt checkpoints/checkpoint9.pt --output average.pt
    depth-adaptive average --inputs checkpoints --last-epochs 10 --output average.pt
    depth-adaptive average --inputs checkpoints --last-updates 10 --output average.pt

The result decodes like any checkpoint. It holds no optimiser state: give it to training with --finetune-from-model.
"""

import argparse
from pathlib import Path
from typing import List, Sequence

from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.checkpoint_files.writing import write_checkpoint

PATTERNS = {"last_epochs": r"checkpoint(\d+)\.pt", "last_updates": r"checkpoint_\d+_(\d+)\.pt"}


def select_checkpoints(arguments: argparse.Namespace) -> List[Path]:
    """The files to average.

    Raises:
        ValueError: a folder without a choice, or with fewer checkpoints than asked for.
    """
    for option, pattern in PATTERNS.items():
        count = getattr(arguments, option)
        if count is None:
            continue
        if len(arguments.inputs) != 1 or not arguments.inputs[0].is_dir():
            raise ValueError(f"--{option.replace('_', '-')} takes one folder as --inputs, not {_names(arguments.inputs)}")
        found = checkpoint_utils.checkpoint_paths(str(arguments.inputs[0]), pattern=pattern)  # newest first
        if not 1 <= count <= len(found):
            raise ValueError(
                f"--{option.replace('_', '-')} {count} was given; {arguments.inputs[0]} has {len(found)} such checkpoints"
            )
        return [Path(path) for path in found[:count]]
    for path in arguments.inputs:
        if not path.is_file():
            raise ValueError(f"{path} is not a file: give checkpoints, or a folder with --last-epochs or --last-updates")
    return arguments.inputs


def average(paths: List[Path]) -> dict:
    """The first checkpoint with the mean parameters of all of them, and without its optimiser state.

    Raises:
        ValueError: checkpoints of different models.
    """
    result, sums = None, {}
    for path in paths:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        parameters = state["model"]
        if result is None:
            result = state
            sums = {name: tensor.clone().double() for name, tensor in parameters.items()}
            continue
        shapes = {name: tensor.shape for name, tensor in parameters.items()}
        if shapes != {name: tensor.shape for name, tensor in sums.items()}:
            raise ValueError(f"{path} and {paths[0]} hold different models: average checkpoints of one training run")
        for name, tensor in parameters.items():
            sums[name] += tensor
    for name, tensor in result["model"].items():
        mean = sums[name] / len(paths)
        result["model"][name] = mean.to(tensor.dtype) if tensor.is_floating_point() else tensor
    result["last_optimizer_state"] = None
    return result


def _names(paths) -> str:
    return ", ".join(map(str, paths))


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("average", __doc__)
    parser.add_argument("--inputs", type=Path, nargs="+", required=True, help="checkpoints, or a folder of them")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--last-epochs", type=int, help="average the last n epochs' checkpoints of the folder")
    choice.add_argument("--last-updates", type=int, help="average the last n checkpoints that were saved between epochs")
    args = parser.parse_args(arguments)
    paths = select_checkpoints(args)
    state = average(paths)
    if "cfg" in state and state["cfg"] is not None:
        state["cfg"] = OmegaConf.to_container(state["cfg"], resolve=True, enum_to_str=True)
    write_checkpoint(state, args.output)
    print(f"wrote the average of {len(paths)} checkpoints to {args.output}: {_names(paths)}")

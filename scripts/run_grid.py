#!/usr/bin/env python
"""Train and evaluate what a recipe's grid.yaml lists, one after another.

    python scripts/run_grid.py scripts/recipes/multi30k.de-en.grid --data data-bin/multi30k-2k.de-en --out outputs/grid

Run it again at any time: it goes on where it stopped, and what the recipe's trainings.csv and results.csv hold already is
not done again, even where the checkpoints are gone (unless a later training starts from one of them). To add points, add
them to grid.yaml. write_results.py turns the CSVs into RESULTS.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

from evaluation.results import read_results
from experiments.grid import Grid, GridError, Training, load_grid
from experiments.trainings import finished_checkpoint, read_trainings, record_training, train

SCRIPTS = Path(__file__).resolve().parent


def missing_policies(training: Training, subset: str, recipe: Path) -> List[str]:
    """Policies of *training* that the recipe's CSVs do not hold for its options of today."""
    known = read_trainings(recipe / "trainings.csv").get(training.name)
    if known is None or known["fingerprint"] != training.fingerprint:
        return list(training.policies)
    rows = {(row["model"], row["subset"], row["policy"]) for row in read_results(recipe / "results.csv")}
    return [policy for policy in training.policies if (training.name, subset, policy) not in rows]


def is_measured(training: Training, recipe: Path) -> bool:
    return not any(missing_policies(training, subset, recipe) for subset in training.subsets)


def to_train(grid: Grid, recipe: Path, out: Path) -> List[Training]:
    """The trainings whose checkpoints are needed and not there, in the grid's order."""
    needed: Dict[str, Training] = {}

    def need(training: Training) -> None:
        if finished_checkpoint(training, out) is not None or training.name in needed:
            return
        if training.start is not None:
            need(training.start)
        needed[training.name] = training

    for training in grid.trainings:
        if not is_measured(training, recipe):
            need(training)
    return list(needed.values())


def evaluate(training: Training, grid: Grid, data: Path, recipe: Path, checkpoint: Path) -> None:
    """Decode with each policy that is missing.

    Raises:
        GridError: the evaluation failed.
    """
    for subset in training.subsets:
        policies = missing_policies(training, subset, recipe)
        if not policies:
            continue
        decoding = [word for name, value in grid.decoding.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, str(SCRIPTS / "evaluate_policies.py"), str(data), "--path", str(checkpoint)]
        command += ["--task", training.options["task"], "--gen-subset", subset, "--model-name", training.name, *decoding]
        command += ["--results", str(recipe / "results.csv"), "--policies", *policies]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
            raise GridError(f"decoding '{training.name}' failed: {' '.join(command)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="folder with grid.yaml, which also gets the CSVs")
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py made")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs")
    parser.add_argument("--list", action="store_true", help="say what is to be done, and do nothing")
    arguments = parser.parse_args()
    recipe, out = arguments.recipe, arguments.out
    grid = load_grid(recipe / "grid.yaml")
    pending = to_train(grid, recipe, out)
    if arguments.list:
        for training in grid.trainings:
            state = "to train" if training in pending else "measured" if is_measured(training, recipe) else "to decode"
            print(f"{training.name:40} {state}")
        return
    for number, training in enumerate(grid.trainings, start=1):
        if training in pending:
            print(f"[{number}/{len(grid.trainings)}] training {training.name}", flush=True)
            record_training(recipe / "trainings.csv", train(training, arguments.data, out))
        if not is_measured(training, recipe):
            print(f"[{number}/{len(grid.trainings)}] decoding {training.name}", flush=True)
            evaluate(training, grid, arguments.data, recipe, finished_checkpoint(training, out))
    print(f"complete: {recipe}/results.csv")


if __name__ == "__main__":
    try:
        main()
    except (GridError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("run_grid: interrupted; the same command goes on from here.")

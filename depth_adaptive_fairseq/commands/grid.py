"""Train and evaluate what a recipe's grid.yaml lists, one after another.

    depth-adaptive grid scripts/recipes/multi30k.de-en.grid --data data-bin/multi30k-2k.de-en --out outputs/grid

Run it again at any time: it goes on where it stopped, and what the recipe's trainings.csv and results.csv hold already is
not done again, even where the checkpoints are gone (unless a later training starts from one of them). To add points, add
them to grid.yaml. Where options of a training or of decoding are changed, the rows that they made untrue are taken out and
measured again. With --results, the CSVs as they are become the recipe's RESULTS.md, which says what is not measured yet.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.evaluation.results import read_results
from depth_adaptive_fairseq.commands.experiments.exit_positions import add_positions, read_exit_log, summarise
from depth_adaptive_fairseq.commands.experiments.grid import Grid, GridError, Training, load_grid
from depth_adaptive_fairseq.commands.experiments.results_page import results_page
from depth_adaptive_fairseq.commands.experiments.stale_rows import bring_up_to_date
from depth_adaptive_fairseq.commands.experiments.trainings import finished_checkpoint, is_decoded_alike, is_trained, read_trainings, train
from depth_adaptive_fairseq.commands.shared.tables import read_table
from depth_adaptive_fairseq.compat.whole_files import new_file


def _without_rows(training: Training, recipe: Path, policies: Sequence[str], measured: set) -> List[str]:
    """Those of *policies* that are not among *measured*; all of them if the options of today are not those of the CSVs."""
    known = read_trainings(recipe / "trainings.csv").get(training.name)
    if not is_trained(known, training) or not is_decoded_alike(known, training):
        return list(policies)
    return [policy for policy in policies if policy not in measured]


def missing_policies(training: Training, subset: str, recipe: Path) -> List[str]:
    """Policies of *training* that the recipe's CSVs do not hold for its options of today."""
    rows = read_results(recipe / "results.csv")
    measured = {row["policy"] for row in rows if (row["model"], row["subset"]) == (training.name, subset)}
    return _without_rows(training, recipe, training.policies, measured)


def missing_positions(training: Training, subset: str, recipe: Path) -> List[str]:
    """The same for ``exit_positions.csv`` and the policies whose exits by position are to be kept."""
    rows = read_table(recipe / "exit_positions.csv")
    measured = {row["policy"] for row in rows if (row["training"], row["subset"]) == (training.name, subset)}
    return _without_rows(training, recipe, training.exit_positions, measured)


def is_measured(training: Training, recipe: Path) -> bool:
    """Whether the recipe's CSVs hold all that the grid asks of *training*."""
    missing = (each(training, subset, recipe) for each in (missing_policies, missing_positions) for subset in training.subsets)
    return not any(missing)


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


def decode(training: Training, data: Path, checkpoint: Path, subset: str, policies: Sequence[str], *more: str) -> None:
    """Run depth-adaptive evaluate, with its options *more*.

    Raises:
        GridError: it failed.
    """
    command = [sys.executable, "-m", "depth_adaptive_fairseq", "evaluate", str(data), "--path", str(checkpoint)]
    command += ["--task", training.options["task"], "--gen-subset", subset, "--model-name", training.name]
    command += [*training.decoding_arguments(), *more, "--policies", *policies]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise GridError(f"decoding '{training.name}' failed: {' '.join(command)}")


def evaluate(training: Training, data: Path, recipe: Path, checkpoint: Path) -> None:
    """Decode with each policy that is missing.

    Raises:
        GridError: the evaluation failed.
    """
    for subset in training.subsets:
        policies = missing_policies(training, subset, recipe)
        if policies:
            decode(training, data, checkpoint, subset, policies, "--results", str(recipe / "results.csv"))
        for policy in missing_positions(training, subset, recipe):
            # Decoded by itself and its results thrown away: a policy that results.csv holds already would be passed over.
            with tempfile.TemporaryDirectory() as folder:
                thrown_away = ["--results", f"{folder}/results.csv", "--exit-logs", folder]
                decode(training, data, checkpoint, subset, [policy], *thrown_away)
                (log,) = Path(folder).glob("*.jsonl")
                summary = summarise(read_exit_log(log))
            add_positions(recipe / "exit_positions.csv", training.name, subset, policy, summary)


def main(arguments: Sequence[str]) -> Optional[int]:
    parser = command_parser("grid", __doc__)
    parser.add_argument("recipe", type=Path, help="folder with grid.yaml, which also gets the CSVs")
    parser.add_argument("--data", type=Path, help="folder that depth-adaptive prepare made")
    parser.add_argument("--out", type=Path, help="folder for checkpoints and logs")
    parser.add_argument("--list", action="store_true", help="say what is to be done, and do nothing")
    parser.add_argument("--results", action="store_true", help="write RESULTS.md from the CSVs, and do nothing else")
    args = parser.parse_args(arguments)
    if args.results:
        text = results_page(args.recipe)
        with new_file(args.recipe / "RESULTS.md") as file:
            file.write(text)
        print(f"wrote {args.recipe / 'RESULTS.md'}")
        return None
    if None in (args.data, args.out):
        parser.error("give --data DATA_BIN and --out FOLDER, or --results")
    try:
        run(args.recipe, args.data, args.out, args.list)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def run(recipe: Path, data: Path, out: Path, only_list: bool = False) -> None:
    """Train and decode what is missing, or with *only_list* say what that is.

    Raises:
        GridError: there is no readable grid, or a training or a decoding failed.
    """
    grid = load_grid(recipe / "grid.yaml")
    pending = to_train(grid, recipe, out)
    if only_list:
        for training in grid.trainings:
            state = "to train" if training in pending else "measured" if is_measured(training, recipe) else "to decode"
            print(f"{training.name:40} {state}")
        return
    for number, training in enumerate(grid.trainings, start=1):
        if training in pending:
            print(f"[{number}/{len(grid.trainings)}] training {training.name}", flush=True)
            train(training, data, out)
        if is_measured(training, recipe):
            continue
        checkpoint = finished_checkpoint(training, out)
        bring_up_to_date(training, recipe, checkpoint)
        if not is_measured(training, recipe):
            print(f"[{number}/{len(grid.trainings)}] decoding {training.name}", flush=True)
            evaluate(training, data, recipe, checkpoint)
    print(f"complete: {recipe}/results.csv")

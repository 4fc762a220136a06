"""Running one training of a grid, and the CSV that remembers it."""

import shutil
import subprocess
from pathlib import Path
from typing import Dict, Optional

from depth_adaptive_fairseq.commands.shared.tables import read_table, write_table

from .grid import GridError, Training
from .training_log import LOG, read_log, start_line

COLUMNS = (
    "name",
    "fingerprint",
    "updates",
    "seed",
    "parameters",
    "seconds",
    "valid_nll",
    "oracle_exit",
    "predicted_exit",
    "exit_agreement",
    "decoding",
)
CHECKPOINT = "checkpoint_last.pt"


def read_trainings(path: Path) -> Dict[str, Dict[str, str]]:
    """The rows of *path* by name, none if it does not exist."""
    return {row["name"]: row for row in read_table(path)}


def record_training(path: Path, row: Dict[str, object]) -> None:
    """Add *row* or replace the one of its name; the file is renamed into place."""
    write_table(path, COLUMNS, {**read_trainings(path), row["name"]: row}.values())


def row_of(training: Training, folder: Path) -> Dict[str, object]:
    """The row of a training that has ended, from its log in *folder*.

    Raises:
        GridError: the log says nothing.
    """
    given = {"name": training.name, "fingerprint": training.fingerprint, "seed": training.options["seed"]}
    return {**given, **read_log(training, folder), "decoding": decoding_of(training)}


def decoding_of(training: Training) -> str:
    """What the column ``decoding`` holds: the options that the training's rows of results were decoded with."""
    return " ".join(training.decoding_arguments())


def is_trained(row: Optional[Dict[str, str]], training: Training) -> bool:
    """Whether *row* is that of a training with the options of today."""
    return row is not None and row["fingerprint"] == training.fingerprint


def is_decoded_alike(row: Dict[str, str], training: Training) -> bool:
    """Whether the results that go with *row* were decoded with the options of today; a row that does not say so counts."""
    return row.get("decoding") in (None, "", decoding_of(training))


def finished_checkpoint(training: Training, out: Path) -> Optional[Path]:
    """The checkpoint of *training* below *out*, if it was trained to its end with the options of today."""
    folder = out / training.name
    done = folder / "trained"
    if done.exists() and done.read_text().strip() == training.fingerprint and (folder / CHECKPOINT).exists():
        return folder / CHECKPOINT
    return None


def train(training: Training, data: Path, out: Path) -> None:
    """Train, going on from what an interrupted run of the same options left.

    Raises:
        GridError: fairseq-train failed; its last lines are in the message.
    """
    folder = out / training.name
    begun = folder / "begun"
    if folder.exists() and (not begun.exists() or begun.read_text().strip() != training.fingerprint):
        shutil.rmtree(folder)  # of other options: nothing to go on from
    folder.mkdir(parents=True, exist_ok=True)
    begun.write_text(training.fingerprint + "\n")

    if not _reached_its_end(training, folder / CHECKPOINT):
        _run(training, data, out)
    (folder / "trained").write_text(training.fingerprint + "\n")


def _reached_its_end(training: Training, checkpoint: Path) -> bool:
    """Whether the last checkpoint has all updates: fairseq-train would make one more before it looks at their number.

    Raises:
        GridError: the checkpoint cannot be read.
    """
    if "max-update" not in training.options or not checkpoint.exists():
        return False
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu  # here: a grid that is complete need not wait for it

    try:
        updates = load_checkpoint_to_cpu(str(checkpoint))["optimizer_history"][-1]["num_updates"]
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise GridError(f"{checkpoint} cannot be read ({error}): delete it to train '{training.name}' again") from error
    return updates >= int(training.options["max-update"])


def _run(training: Training, data: Path, out: Path) -> None:
    folder = out / training.name
    command = ["fairseq-train", str(data), "--save-dir", str(folder), *training.arguments()]
    command += ["--log-format", "json"]  # for training_log.py; behind the grid's own, which its fingerprint counts
    if training.start is not None:
        command += ["--finetune-from-model", str(out / training.start.name / CHECKPOINT)]
    log = folder / LOG
    with log.open("a", encoding="utf-8") as file:
        file.write(start_line())
        file.flush()  # before what fairseq-train writes to the same file
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status != 0:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1]
        raise GridError(f"training '{training.name}' failed; {log} ends with: {last}")

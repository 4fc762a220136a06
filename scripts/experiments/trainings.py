"""Running one training of a grid, and the CSV that remembers it."""

import csv
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional

from .grid import GridError, Training

COLUMNS = ("name", "fingerprint", "updates", "seed", "parameters", "seconds", "valid_nll", "oracle_exit", "predicted_exit", "exit_agreement")
CHECKPOINT = "checkpoint_last.pt"


def read_trainings(path: Path) -> Dict[str, Dict[str, str]]:
    """The rows of *path* by name, none if it does not exist."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def record_training(path: Path, row: Dict[str, object]) -> None:
    """Add *row* or replace the one of its name; the file is renamed into place."""
    rows: List[Dict[str, object]] = [*{**read_trainings(path), row["name"]: row}.values()]
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(partial, path)


def finished_checkpoint(training: Training, out: Path) -> Optional[Path]:
    """The checkpoint of *training* below *out*, if it was trained to its end with the options of today."""
    folder = out / training.name
    done = folder / "trained"
    if done.exists() and done.read_text().strip() == training.fingerprint and (folder / CHECKPOINT).exists():
        return folder / CHECKPOINT
    return None


def train(training: Training, data: Path, out: Path) -> Dict[str, object]:
    """Train, going on from what an interrupted run of the same options left; returns the row for the CSV.

    Raises:
        GridError: fairseq-train failed; its last lines are in the message.
    """
    folder = out / training.name
    begun = folder / "begun"
    if folder.exists() and (not begun.exists() or begun.read_text().strip() != training.fingerprint):
        shutil.rmtree(folder)  # of other options: nothing to go on from
    folder.mkdir(parents=True, exist_ok=True)
    begun.write_text(training.fingerprint + "\n")

    command = ["fairseq-train", str(data), "--save-dir", str(folder), *training.arguments()]
    if training.start is not None:
        command += ["--finetune-from-model", str(out / training.start.name / CHECKPOINT)]
    log = folder / "train.log"
    started = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    seconds = time.monotonic() - started
    text = log.read_text(encoding="utf-8")
    if status != 0:
        raise GridError(f"training '{training.name}' failed; {log} ends with: {text.strip().splitlines()[-1]}")
    (folder / "trained").write_text(training.fingerprint + "\n")
    return _row(training, text, seconds)


def _row(training: Training, log: str, seconds: float) -> Dict[str, object]:
    """What the log says of the last validation."""
    validation = [line for line in log.splitlines() if "valid on 'valid' subset" in line][-1]

    def logged(name: str) -> str:
        match = re.search(rf"\| {name} (\S+)", validation)
        return match.group(1) if match else ""

    parameters = re.search(r"num\. shared model params: ([\d,]+)", log)
    return {
        "name": training.name,
        "fingerprint": training.fingerprint,
        "updates": logged("num_updates"),
        "seed": training.options["seed"],
        "parameters": parameters.group(1).replace(",", "") if parameters else "",
        "seconds": round(seconds),
        "valid_nll": logged("nll_loss"),
        **{name: logged(name) for name in ("oracle_exit", "predicted_exit", "exit_agreement")},
    }

"""Rows of results that the training of today did not give are taken out, so that nothing reports them as its own."""

import hashlib
from pathlib import Path
from typing import Callable, Dict

from depth_adaptive_fairseq.commands.evaluation.results import COLUMNS, read_results
from depth_adaptive_fairseq.commands.shared.tables import write_table

from .exit_positions import drop_positions
from .grid import Training
from .trainings import is_decoded_alike, is_trained, read_trainings, record_training, row_of


def bring_up_to_date(training: Training, recipe: Path, checkpoint: Path) -> None:
    """Make the recipe's CSVs agree with *checkpoint*: its row of ``trainings.csv``, and only results that it gave.

    A row that is current stays as it is, and so do the results, even if they come from an earlier checkpoint of the same
    options. Results go before the row is written: were this interrupted in between, the next run would find the old row, or
    none, and do the same again.
    """
    path = recipe / "trainings.csv"
    row = read_trainings(path).get(training.name)
    if is_trained(row, training) and is_decoded_alike(row, training):
        return
    if row is not None and not is_decoded_alike(row, training):
        _drop_results(recipe, training, lambda result: False)
    else:
        # Nothing says what the results belong to but the digest of the checkpoint they were decoded from.
        digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16]
        beam = str(training.decoding.get("beam", ""))
        _drop_results(recipe, training, lambda result: result["checkpoint_sha256"] == digest and result["beam"] == beam)
    drop_positions(recipe / "exit_positions.csv", training.name)
    record_training(path, row_of(training, checkpoint.parent))


def _drop_results(recipe: Path, training: Training, keep: Callable[[Dict[str, str]], bool]) -> None:
    path = recipe / "results.csv"
    rows = read_results(path)
    kept = [row for row in rows if row["model"] != training.name or keep(row)]
    if len(kept) != len(rows):
        write_table(path, COLUMNS, kept)

"""Restartable steps: each has a folder of its own, named by a key over all that decides its content.

A step writes into a folder with a temporary name, which is renamed when the step is complete. So a folder with its
final name is always whole, whatever happened to the process; a step whose settings, inputs or tools changed gets
another key and is done anew, and with it the steps that build on it.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

REPORT = "step.json"
PARTIAL = ".partial"


@dataclass(frozen=True)
class Step:
    """`run(folder, inputs)` writes its files into `folder` and returns counts for the report.

    `settings` holds everything that decides the output apart from the inputs: settings of the template, versions of
    the tools. `inputs` are the steps whose folders `run` gets, by name.
    """

    name: str
    settings: dict
    run: Callable[[Path, dict[str, Path]], dict]
    inputs: tuple["Step", ...] = field(default=())

    @property
    def key(self) -> str:
        content = [self.name, self.settings, [step.key for step in self.inputs]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    folder: Path
    report: dict
    seconds: float  # 0 for a step that was done already
    skipped: bool


class WorkFolder:
    """The folder that holds the steps' folders."""

    def __init__(self, path: Path):
        self.path = path

    def folder(self, step: Step) -> Path:
        return self.path / f"{step.name}-{step.key[:16]}"

    def run(self, step: Step) -> Outcome:
        """The step's result: from its folder if it is there, otherwise by running it on its inputs' folders."""
        folder = self.folder(step)
        skipped = folder.is_dir()
        started = time.monotonic()
        if not skipped:
            with_temporary_name = self.path / f"{folder.name}.{os.getpid()}{PARTIAL}"
            with_temporary_name.mkdir()
            report = step.run(with_temporary_name, {other.name: self.folder(other) for other in step.inputs})
            (with_temporary_name / REPORT).write_text(json.dumps(report), encoding="utf-8")
            with_temporary_name.rename(folder)
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        return Outcome(folder, report, 0.0 if skipped else time.monotonic() - started, skipped)

    def remove_partial(self) -> None:
        """Removes what an interrupted run left; only for the one process that holds the folder's lock."""
        for leftover in self.path.glob(f"*{PARTIAL}"):
            remove(leftover)

    def remove_all_but(self, steps: list[Step]) -> None:
        """Removes the folders of steps that no longer belong to the template."""
        kept = {self.folder(step) for step in steps}
        for folder in self.path.iterdir():
            if folder.is_dir() and folder not in kept:
                remove(folder)


def remove(folder: Path) -> None:
    """Removes a folder such that its name never stands for half of it."""
    if not folder.name.endswith(PARTIAL):
        folder = folder.rename(folder.with_name(f"{folder.name}.removed{PARTIAL}"))
    shutil.rmtree(folder)

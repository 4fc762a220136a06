"""Writing a checkpoint so that its name never stands for half of one."""

import contextlib
import os
from pathlib import Path

import torch


def write_checkpoint(state: dict, path: Path) -> None:
    """Save *state* to *path* through ``PATH.partial``, which is renamed once it is complete and removed on failure.

    Raises:
        ValueError: the file cannot be written; an older one of that name stays as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, (OSError, RuntimeError)):  # PyTorch turns the system's error into the latter
            raise ValueError(f"cannot write {path}: {_reason(error)}") from error
        raise


def _reason(error: BaseException) -> str:
    """What the operating system says, if it is behind *error*."""
    cause = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return (cause and cause.strerror) or str(error)

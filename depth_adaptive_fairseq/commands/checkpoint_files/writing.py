"""Writing a checkpoint whole or not at all."""

from pathlib import Path

import torch

from depth_adaptive_fairseq.compat.whole_files import new_file


def write_checkpoint(state: dict, path: Path) -> None:
    """Save *state* to *path*.

    Raises:
        ValueError: the file cannot be written; an older one of that name stays as it was.
    """
    try:
        with new_file(path, "wb") as file:
            torch.save(state, file)
    except OSError as error:
        raise ValueError(str(error)) from error
    except RuntimeError as error:  # PyTorch turns the system's error into it
        raise ValueError(f"cannot write {path}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What the operating system says, if it is behind *error*."""
    cause = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return (cause and cause.strerror) or str(error)

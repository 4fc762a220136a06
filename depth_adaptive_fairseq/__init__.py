"""Depth-adaptive Transformers for fairseq: what ``--user-dir depth_adaptive_fairseq`` loads."""

import os
import sys

from depth_adaptive_fairseq import compat

compat.install()


def register() -> None:
    """Register the models, tasks and criterions with fairseq, which takes the seconds of importing it and PyTorch."""
    from depth_adaptive_fairseq import criterions, models, tasks  # noqa: F401


def _runs_a_command() -> bool:
    """Whether this is imported for ``python -m depth_adaptive_fairseq ...`` or ``depth-adaptive``: those that need fairseq register."""
    program = (getattr(sys, "argv", None) or [""])[0]
    if program == "-m":  # Python looks for the module to run
        return any("depth_adaptive_fairseq" in each for each in sys.orig_argv)
    return os.path.basename(program).partition(".")[0] == "depth-adaptive"


if not _runs_a_command():
    register()

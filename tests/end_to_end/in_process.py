"""fairseq's commands without a process of their own, for the many runs that differ in a few options only.

Most of what a small run costs is turning its command line into a configuration. Here that is done once; each run changes
entries of a copy and calls the command's ``main``, in the current directory. Errors come out as the exceptions that they are.
"""

import contextlib
import copy
import io
import logging
from pathlib import Path
from typing import Callable

from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from tests.end_to_end.commands import Finished


class InProcess:
    """A command with most of its options given.

    Args:
        main: the command's main function.
        parser: its parser.
        command: the options that all runs share.
    """

    def __init__(self, main: Callable, parser, *command):
        arguments = options.parse_args_and_arch(parser, [str(each) for each in command])
        self._main = main
        self._configuration = convert_namespace_to_omegaconf(arguments)

    def __call__(self, **entries) -> Finished:
        """Run with changed entries of the configuration, named ``group__option``."""
        configuration = copy.deepcopy(self._configuration)
        for name, value in entries.items():
            group, _, option = name.partition("__")
            assert option in configuration[group], f"no option {option} in {group}"
            OmegaConf.update(configuration, f"{group}.{option}", str(value) if isinstance(value, Path) else value)
        vars(checkpoint_utils.save_checkpoint).pop("best", None)  # fairseq keeps it from one training to the next
        with contextlib.redirect_stdout(io.StringIO()) as stdout, _logs() as logs:
            self._main(configuration)
        return Finished(0, stdout.getvalue(), logs.getvalue())


@contextlib.contextmanager
def _logs():
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("| %(levelname)s | %(name)s | %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield text
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

"""The exit log: what every token of every translation did, one JSON object a line."""

import contextlib
import json
import os
from typing import Dict, NoReturn, Optional, TextIO

from depth_adaptive_fairseq.compat.whole_files import PARTIAL, refuse_special, target_of
from depth_adaptive_fairseq.errors import DepthAdaptiveError


class ExitLog:
    """Writes ``FILE.partial`` line by line and renames it to ``FILE`` when the last batch is through.

    What :meth:`write` is given after that (fairseq-interactive reads on) is appended to ``FILE``. If writing fails, the
    unfinished file, or line, is removed. Where ``FILE`` is a link, all this happens where it leads to.

    Args:
        path: ``FILE``, from ``--exit-log``.

    Raises:
        DepthAdaptiveError: the file cannot be written there.
    """

    def __init__(self, path: str):
        self.path = path
        refuse_special(path, "--exit-log", DepthAdaptiveError)
        self._target = target_of(path)
        self.partial_path = self._target + PARTIAL
        folder = os.path.dirname(self._target) or "."
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
            raise DepthAdaptiveError(
                f"--exit-log {path} was given, but {folder} is not a folder that exists and can be written to: give a path in "
                "one that does."
            )
        self._file: Optional[TextIO] = None  # opened for the first record, so that a run without any leaves nothing behind
        self._complete = 0  # bytes of complete lines
        self._published = False

    def write(self, record: Dict) -> None:
        """Append one sentence's record.

        Raises:
            DepthAdaptiveError: the disk is full, or writing fails otherwise.
        """
        try:
            self._open()
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
            self._complete = self._file.tell()
        except OSError as error:
            self._fail(error)

    def publish(self) -> None:
        """Rename ``FILE.partial`` to ``FILE``: all sentences are written."""
        if self._published:
            return
        try:
            self._open()
            os.fsync(self._file.fileno())
            os.replace(self.partial_path, self._target)
        except OSError as error:
            self._fail(error)
        self._published = True

    def _open(self) -> None:
        if self._file is None:
            self._file = open(self.partial_path, "w", encoding="utf-8")

    def _fail(self, error: OSError) -> NoReturn:
        if self._file is not None:
            with contextlib.suppress(OSError):  # the buffered line cannot be written either
                self._file.close()
            if self._published:
                os.truncate(self._target, self._complete)
            else:
                os.unlink(self.partial_path)
        raise DepthAdaptiveError(
            f"--exit-log {self.path} was given, but writing to it failed ({error.strerror}); what was unfinished was "
            "removed: free some space or give another path, and run again."
        ) from None

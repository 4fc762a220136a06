"""The exit log: what every token of every translation did, one JSON object a line."""

import json
import os
from typing import Dict, NoReturn

from depth_adaptive_fairseq.errors import DepthAdaptiveError


class ExitLog:
    """Writes ``FILE.partial`` line by line and renames it to ``FILE`` when the last batch is through.

    What :meth:`write` is given after that (fairseq-interactive reads on) is appended to ``FILE``. If writing fails, the
    unfinished file is removed.

    Args:
        path: ``FILE``, from ``--exit-log``.

    Raises:
        DepthAdaptiveError: the file cannot be written there.
    """

    def __init__(self, path: str):
        self.path = path
        self.partial_path = f"{path}.partial"
        if os.path.exists(path) and not os.path.isfile(path):
            raise DepthAdaptiveError(f"--exit-log {path} was given, which exists and is not a regular file: give another path.")
        try:
            self._file = open(self.partial_path, "w", encoding="utf-8")
        except OSError as error:
            raise DepthAdaptiveError(
                f"--exit-log {path} was given, but {self.partial_path} cannot be written ({error.strerror}): "
                "give a path in a folder that exists and is writable."
            ) from None
        self._published = False

    def write(self, record: Dict) -> None:
        """Append one sentence's record.

        Raises:
            DepthAdaptiveError: the disk is full, or writing fails otherwise.
        """
        try:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            self._fail(error)

    def publish(self) -> None:
        """Rename ``FILE.partial`` to ``FILE``: all sentences are written."""
        if self._published:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self.partial_path, self.path)
        except OSError as error:
            self._fail(error)
        self._published = True

    def _fail(self, error: OSError) -> NoReturn:
        try:
            self._file.close()
        except OSError:
            pass  # the buffered line cannot be written either
        if not self._published:
            os.unlink(self.partial_path)
        raise DepthAdaptiveError(
            f"--exit-log {self.path} was given, but writing to it failed ({error.strerror}); the unfinished file was "
            "removed: free some space or give another path, and run again."
        ) from None

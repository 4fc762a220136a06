"""Files whose name never stands for half of one."""

import contextlib
import os
from pathlib import Path
from typing import IO, Iterator


@contextlib.contextmanager
def new_file(path: Path, mode: str = "w", **options) -> Iterator[IO]:
    """Open ``PATH.partial`` for writing; at the end it is renamed to *path*, after a failure removed.

    Args:
        mode, options: those of ``open``; text is UTF-8 unless they say otherwise.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open(mode, **options) as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise

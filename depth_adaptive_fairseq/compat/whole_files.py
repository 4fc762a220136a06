"""Files whose name never stands for half of one, and paths that must not become files: devices, pipes, links.

No mend, but what several need: ``checkpoint_writing``, the package's exit log, and the scripts.
A file is written under another name and renamed when it is complete. Renaming replaces whatever
the path is, so for root it would make a plain file of ``/dev/null``: that is looked at first.
"""

import contextlib
import os
import sys

from .user_errors import is_user_error, user_error

PARTIAL = ".partial"


def is_special(path):
    """Whether ``path`` exists and cannot be replaced by a file: a folder, a device, a pipe, an open file of a process."""
    return os.path.exists(path) and (not os.path.isfile(path) or _open_descriptor(path) is not None)


def refuse_special(path, option="", kind=ValueError):
    """Raise a user error of class ``kind``, which names the ``option``, if ``path`` is nothing to replace or to read again."""
    if is_special(path):
        given = f"{option} {path} was given, which" if option else f"{path}"
        raise user_error(f"{given} exists and is not a regular file: give another path.", kind)


def target_of(path):
    """What a finished file is to be renamed to: ``path``, or what a link there leads to, so that it stays a link."""
    path = os.fspath(path)
    return os.path.realpath(path) if os.path.islink(path) else path


@contextlib.contextmanager
def new_file(path, mode="w", **options):
    """Open a file that is to become ``path``: renamed there at the end, removed after a failure.

    A device, a pipe and standard output are written to as they are.

    Args:
        mode, options: those of ``open``; text is UTF-8 unless they say otherwise.

    Raises:
        OSError: a user error; the file cannot be written. An older one of that name stays as it was.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
    try:
        if is_special(path):
            with _open_special(path, mode, options) as file:
                yield file
            return
        target = target_of(path)
        partial = target + PARTIAL
        try:
            with open(partial, mode, **options) as file:
                yield file
            os.replace(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
    except OSError as error:
        if is_user_error(error):
            raise
        raise user_error(f"cannot write {path}: {error.strerror or error}", OSError) from error


def _open_special(path, mode, options):
    descriptor = _open_descriptor(path)
    if descriptor is None:
        return open(path, mode, **options)
    # Not anew: a file that standard output is redirected to would be written to from its beginning, by two writers.
    sys.stdout.flush()
    return open(os.dup(descriptor), mode, **options)


def _open_descriptor(path):
    """n, if ``path`` leads to ``/proc/self/fd/n``, as ``/dev/stdout`` does; else None."""
    path = os.path.abspath(path)
    for _ in range(40):  # as many links as Linux follows
        folder, name = os.path.split(path)
        if name.isdigit() and os.path.realpath(folder) in (f"/proc/{os.getpid()}/fd", "/proc/self/fd"):
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(folder, os.readlink(path))
    return None

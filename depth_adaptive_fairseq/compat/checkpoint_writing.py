"""A kill, or a full disk, while a checkpoint is written leaves a broken ``checkpoint_last.pt``; a link becomes a file.

Concerns: fairseq 0.12.2. It writes the first file of a save under another name and renames it,
but then copies it over ``checkpoint_best.pt`` and ``checkpoint_last.pt`` in place. And when
writing fails it tries again into the same half-written file, logging a traceback each time. The
renaming replaces whatever is there: a link by a file, and for root a device.
No longer needed when: ``PathManager.copy`` of fairseq replaces its target in one step, and
``_torch_persistent_save`` tries once.
"""

import contextlib
import functools
import os

from .user_errors import user_error
from .whole_files import refuse_special, target_of

MODULES = ("fairseq.file_io", "fairseq.checkpoint_utils")


def after(module):
    if module.__name__ == "fairseq.file_io":
        _mend_copy(module.PathManager)
    else:
        _mend_save(module)


def _mend_copy(path_manager):
    original = path_manager.copy

    @functools.wraps(original)
    def copy(src_path, dst_path, overwrite=False):
        if not path_manager.supports_rename(dst_path):
            return original(src_path, dst_path, overwrite)
        with _new_file(dst_path) as target:
            partial = f"{target}.tmp"
            copied = original(src_path, partial, True)
            if copied:
                os.replace(partial, target)
        return copied and dst_path

    path_manager.copy = staticmethod(copy)


def _mend_save(module):
    original = module.torch_persistent_save

    @functools.wraps(original)
    def torch_persistent_save(obj, filename, async_write=False):
        with _new_file(filename) as target:
            return original(obj, target, async_write)

    def save_once(obj, file):
        module.torch.save(obj, file)

    module.torch_persistent_save = torch_persistent_save
    module._torch_persistent_save = save_once


@contextlib.contextmanager
def _new_file(path):
    """The file that is to become ``path``: itself, or what a link there leads to.

    Until it is complete it has the name that fairseq itself gives it then, with ``.tmp`` behind it;
    a failure leaves nothing there.

    Raises:
        ValueError, OSError: user errors, where ``path`` is a device or the like, or writing failed
    """
    refuse_special(path)
    target = target_of(path)
    try:
        yield target
    except (OSError, RuntimeError) as error:  # PyTorch turns the system's error into the latter
        with contextlib.suppress(OSError):
            os.remove(f"{target}.tmp")
        cause = _system_error(error)
        if cause is None:
            raise
        raise user_error(
            f"cannot write checkpoint {path}: {cause.strerror or cause}; earlier checkpoints are "
            "whole, and training goes on from the last one when it is started again",
            OSError,
        ) from error


def _system_error(error):
    """The operating system's complaint among the causes of ``error``, or None."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error

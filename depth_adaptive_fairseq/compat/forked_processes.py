"""A process forked from one in which PyTorch has computed with several threads hangs for ever.

Concerns: PyTorch with GNU's OpenMP library, which its builds for Linux have. The library keeps its
threads for the next operation, and a fork has none of them, but waits for them. A web server's
or a data loader's worker can therefore not translate once its parent has. Before a fork these
threads are now ended, after which parent and child start their own again when they need them.
Where that cannot be (a library older than GCC 9's, a program that forks behind Python's back),
PyTorch, and with it this project's kernels, uses one thread in the child.
No longer needed when: GNU's OpenMP library, or PyTorch, does this by itself.
"""

import contextlib
import ctypes
import os
import sys

MODULES = ("fairseq",)

_PAUSE_SOFT = 1  # omp_pause_soft: what has been set, such as the number of threads, stays

_threads_ended = False


def after(module):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def end_openmp_threads():
    """End the threads that OpenMP keeps for the calling thread; whether no such threads are left."""
    return all(_ends_threads(path) for path in _openmp_libraries())


def _openmp_libraries():
    """The copies of GNU's library in this process; PyTorch may bring one of its own."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in maps if "libgomp" in line}
    except OSError:  # not Linux: other OpenMP libraries are prepared for forks
        return []
    return [path for path in paths if os.path.basename(path).startswith("libgomp")]


def _ends_threads(path):
    try:
        library = ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
        return library.omp_pause_resource_all(_PAUSE_SOFT) == 0
    except (OSError, AttributeError):
        return False


def _before():
    global _threads_ended
    _threads_ended = end_openmp_threads()


def _in_parent():
    global _threads_ended
    _threads_ended = False


def _in_child():
    global _threads_ended
    torch = sys.modules.get("torch")
    if torch is not None and not _threads_ended:
        with contextlib.suppress(AttributeError):  # while PyTorch is being imported
            torch.set_num_threads(1)
    _threads_ended = False

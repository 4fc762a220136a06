"""A user's mistake ends in a traceback of 60 lines.

Concerns: fairseq 0.12.2, whose commands let every exception through to the interpreter, in
workers that PyTorch spawned too, and hydra-core 1.0, which prints its own kind of traceback.

An exception with a true attribute ``is_user_error`` ends a fairseq command with one sentence on
stderr and exit status 1. The attribute and not a class decides, so that code on both sides of an
import, and fairseq's own exceptions, can take part. ``DEPTH_ADAPTIVE_TRACEBACK=1`` in the
environment brings the traceback back.
No longer needed when: fairseq's commands report such errors by themselves.
"""

import functools
import os
import sys

MODULES = ("fairseq", "fairseq.distributed.utils", "hydra._internal.utils")


def user_error(message, kind=ValueError):
    """An exception of class ``kind`` that is for the user to solve."""
    error = kind(message)
    error.is_user_error = True
    return error


def is_user_error(error):
    return bool(getattr(error, "is_user_error", False))


def report(error):
    """Print the error as argparse prints its own."""
    print(f"{os.path.basename(sys.argv[0])}: error: {sentence(error)}", file=sys.stderr)


def sentence(error):
    """The message of an error; of one that a data loading worker passed on, the last line."""
    message = str(error)
    if "Original Traceback" in message:
        message = message.rstrip().rpartition("\n")[2].partition(": ")[2]
    return message


def traceback_wanted():
    return os.environ.get("DEPTH_ADAPTIVE_TRACEBACK", "0") not in ("", "0")


def after(module):
    if module.__name__ == "fairseq":
        _mend_interpreter()
    elif module.__name__ == "fairseq.distributed.utils":
        _mend_workers(module)
    else:
        _mend_hydra(module)


def _mend_interpreter():
    original = sys.excepthook

    def excepthook(kind, error, trace):
        if is_user_error(error):
            if traceback_wanted():
                original(kind, error, trace)
            report(error)
            _leave_threads_behind()
        else:
            original(kind, error, trace)

    sys.excepthook = excepthook


def _leave_threads_behind():
    """End a fairseq command at once while its data loading threads run.

    The interpreter would end them by force, at which PyTorch, if it is what they are running, aborts the process.
    """
    import threading

    if os.path.basename(sys.argv[0]).startswith("fairseq-") and threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _mend_workers(module):
    worker_main, call_main = module.distributed_main, module.call_main

    @functools.wraps(worker_main)
    def distributed_main(i, main, cfg, kwargs):
        spawned = not cfg.distributed_training.distributed_no_spawn
        try:
            return worker_main(i, main, cfg, kwargs)
        except Exception as error:
            if not (spawned and is_user_error(error)) or traceback_wanted():
                raise
            report(error)
            sys.exit(1)

    @functools.wraps(call_main)
    def mended_call_main(cfg, main, **kwargs):
        from torch.multiprocessing import ProcessExitedException

        try:
            return call_main(cfg, main, **kwargs)
        except ProcessExitedException as error:
            if error.exit_code != 1:
                raise
            sys.exit(1)  # the worker has said why

    module.distributed_main, module.call_main = distributed_main, mended_call_main


def _mend_hydra(module):
    original = module.run_and_report

    @functools.wraps(original)
    def run_and_report(func):
        def reporting():
            try:
                return func()
            except Exception as error:
                if not is_user_error(error) or traceback_wanted():
                    raise
                report(error)
                sys.exit(1)

        return original(reporting)

    module.run_and_report = run_and_report

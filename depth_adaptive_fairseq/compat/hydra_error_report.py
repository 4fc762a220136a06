"""hydra's report of an error fails itself: ``unexpected keyword argument 'etype'``.

Concerns: Python >= 3.10, where ``traceback.print_exception`` renamed its first parameter, with
hydra-core 1.0.
No longer needed when: ``grep etype`` finds nothing in the installed ``hydra/_internal/utils.py``.
"""

import functools
import inspect
import traceback

MODULES = ("hydra._internal.utils",)


def needed():
    return "etype" not in inspect.signature(traceback.print_exception).parameters


def after(module):
    if not needed():
        return
    original = module.print_exception

    @functools.wraps(original)
    def print_exception(*arguments, etype=None, **options):
        if "value" in options:
            arguments = (etype, options.pop("value"), *arguments)
        return original(*arguments, **options)

    module.print_exception = print_exception

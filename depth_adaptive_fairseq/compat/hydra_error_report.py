"""hydra's report of an error fails itself: ``unexpected keyword argument 'etype'``.

Concerns: Python >= 3.10, where ``traceback.print_exception`` renamed its first parameter, with
hydra-core 1.0. The report also insists on a module for each line of the traceback, which code
that was generated (a dataclass's ``__init__``, say) does not have.
No longer needed when: ``grep etype`` finds nothing in the installed ``hydra/_internal/utils.py``.
"""

import functools
import inspect

from .overlay import Overlay

MODULES = ("hydra._internal.utils",)


def after(module):
    module.inspect = Overlay(inspect, getmodule=lambda frame: inspect.getmodule(frame) or module)
    original = module.print_exception

    @functools.wraps(original)
    def print_exception(etype, value, tb):
        return original(etype, value, tb)

    module.print_exception = print_exception

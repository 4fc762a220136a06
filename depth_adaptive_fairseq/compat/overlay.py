"""A module seen through another: what a mend uses to change one name for one reader only."""

import functools
import types


class Overlay(types.ModuleType):
    """Looks like ``module``, but for the names given.

    Setting it as a global of the module that is to be mended changes nothing for anyone else.
    """

    def __init__(self, module, **names):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(names, __overlaid__=module)

    def __getattr__(self, name):
        return getattr(self.__overlaid__, name)


def with_options(function, **fixed):
    """``function`` with some options as given here, whatever its caller says."""

    @functools.wraps(function)
    def call(*arguments, **options):
        return function(*arguments, **{**options, **fixed})

    return call

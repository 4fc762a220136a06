"""Errors that are for the user to solve.

Raised anywhere below a fairseq command, they end it with one sentence and exit status 1 instead
of a traceback (see ``compat/user_errors.py``). Any exception with a true attribute
``is_user_error`` is treated alike.
"""


class DepthAdaptiveError(ValueError):
    """Wrong input, an impossible combination of options, a file that is not what it should be.

    The message is one sentence: what was given, what is allowed, what to do.
    """

    is_user_error = True

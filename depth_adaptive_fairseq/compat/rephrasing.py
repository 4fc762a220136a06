"""Turns an exception of fairseq's into a sentence for the user: what several mends share."""

import functools

from .user_errors import is_user_error


def rephrase(owner, name, kinds, rephrased):
    """Make ``owner.name`` raise ``rephrased(error, *its arguments)`` for errors of ``kinds``.

    Where ``rephrased`` returns None the error is not the user's and goes through as it is.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def mended(*arguments, **options):
        try:
            return original(*arguments, **options)
        except kinds as error:
            new = None if is_user_error(error) else rephrased(error, *arguments, **options)
            if new is None:
                raise
            raise new from error

    setattr(owner, name, mended)

"""The one exception that is shown to the user as a sentence instead of a traceback."""


class PreparationError(Exception):
    """Something the user can put right: the message says what was given, what is allowed and what to do."""

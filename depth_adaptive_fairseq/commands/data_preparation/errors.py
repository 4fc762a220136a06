"""The one exception that is shown to the user as a sentence instead of a traceback."""

from depth_adaptive_fairseq.errors import DepthAdaptiveError


class PreparationError(DepthAdaptiveError):
    """Something the user can put right: the message says what was given, what is allowed and what to do."""

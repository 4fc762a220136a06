"""Depth-adaptive Transformers for fairseq: what ``--user-dir depth_adaptive_fairseq`` loads."""

from depth_adaptive_fairseq import compat

compat.install()

from depth_adaptive_fairseq import criterions, models, tasks  # noqa: E402,F401  registrations

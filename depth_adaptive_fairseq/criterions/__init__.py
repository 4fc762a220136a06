"""Training objectives."""

from depth_adaptive_fairseq.criterions import depth_adaptive  # noqa: F401  registers

"""Architectures."""

from depth_adaptive_fairseq.models import depth_adaptive_transformer  # noqa: F401  registers

"""Tasks."""

from depth_adaptive_fairseq.tasks import depth_adaptive_translation  # noqa: F401  registers

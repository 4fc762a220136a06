"""Parts of ``depth-adaptive grid`` and ``depth-adaptive grid --results``."""

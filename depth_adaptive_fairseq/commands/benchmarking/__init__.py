"""Parts of ``depth-adaptive benchmark-training`` and ``depth-adaptive benchmark``."""

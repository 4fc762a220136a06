"""Parts of ``depth-adaptive evaluate``, ``depth-adaptive tune``, ``depth-adaptive plot`` and ``depth-adaptive view``."""

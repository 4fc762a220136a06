"""Parts of ``depth-adaptive average`` and ``depth-adaptive export``."""

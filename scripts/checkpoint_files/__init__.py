"""Parts of ``average_checkpoints.py`` and ``export_fixed_depth.py``."""

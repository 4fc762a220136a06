"""Parts of ``benchmark_training.py`` and ``benchmark_decoding.py``."""

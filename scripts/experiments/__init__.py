"""Parts of ``run_grid.py`` and ``write_results.py``."""

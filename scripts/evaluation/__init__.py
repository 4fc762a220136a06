"""Parts of ``evaluate_policies.py``, ``tune_thresholds.py``, ``plot_tradeoff.py`` and ``view_exits.py``."""

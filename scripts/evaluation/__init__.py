"""Parts of ``evaluate_policies.py``, ``plot_tradeoff.py`` and ``view_exits.py``."""

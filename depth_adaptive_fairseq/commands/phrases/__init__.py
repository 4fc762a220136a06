"""A small grammar of German sentences and their English translations; see `phrases/generate.py`."""

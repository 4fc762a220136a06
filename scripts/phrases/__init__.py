"""A small grammar of German sentences and their English translations; see `scripts/generate_phrases.py`."""

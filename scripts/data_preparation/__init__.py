"""The steps behind `scripts/prepare_data.py`: one module a subject."""

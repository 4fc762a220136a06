"""Slow second implementations, written from the paper, that the real ones are compared with."""

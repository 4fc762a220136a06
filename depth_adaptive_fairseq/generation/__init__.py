"""Decoding with an exit per token."""

"""Tests of decoding with an exit per token."""

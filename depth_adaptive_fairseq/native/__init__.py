"""Decoding's inner loops in C++, and the way to them. ``kernels`` is the only module that knows about C."""

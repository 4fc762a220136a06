"""Each test runs once for each copy of the kernels."""

import pytest

from depth_adaptive_fairseq.native import kernels


@pytest.fixture(params=kernels.INSTRUCTION_SETS)
def library(request, monkeypatch):
    """A copy of the kernels, which everything uses during the test."""
    if request.param not in kernels.available():
        pytest.skip(f"not compiled for {request.param}, or not a processor that has it")
    copy = kernels.load(request.param)
    copy.set_threads(1)
    monkeypatch.setattr(kernels, "library", lambda: copy)
    return copy

"""float64 throughout, so that tests can compare to many digits."""

from contextlib import contextmanager

import pytest
import torch
from fairseq import utils


@contextmanager
def double_attention():
    """fairseq's attention takes its softmax in float32 whatever the model's precision; here it does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "softmax", lambda x, dim, onnx_trace=False: torch.softmax(x, dim=dim))
        yield

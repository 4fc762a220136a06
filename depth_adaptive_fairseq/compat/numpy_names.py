"""``module 'numpy' has no attribute 'compat'`` (or ``int``, or ``float``).

Concerns: NumPy >= 1.24 for ``np.int`` and ``np.float``, NumPy >= 2.0 for ``np.compat``, with
fairseq 0.12.2: sentence-wise language modelling and ``--num-batch-buckets`` use ``np.compat``.
No longer needed when: ``grep -rE 'np\\.(compat|int|float)\\b'`` finds nothing in ``fairseq``.
"""

import types

from .overlay import Overlay

MODULES = (
    "fairseq.data.data_utils",
    "fairseq.data.language_pair_dataset",
    "fairseq.data.token_block_dataset",
    "fairseq.modules.dynamic_crf_layer",
)


def after(module):
    """Give fairseq, not NumPy, the old names back."""
    numpy = module.np
    old = {"int": int, "float": float, "compat": types.SimpleNamespace(long=int)}
    missing = {name: value for name, value in old.items() if name not in vars(numpy)}
    if missing:
        module.np = Overlay(numpy, **missing)

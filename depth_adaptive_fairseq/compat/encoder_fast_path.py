"""Translating fails with ``Mask Type should be defined``, or yields nested encoder states.

Concerns: PyTorch >= 2.0 with fairseq 0.12.2, whose encoder layers call a fused PyTorch kernel
(``torch._transformer_encoder_layer_fwd``) with the arguments of PyTorch 1.12. Translation models
and RoBERTa are hit alike. The ordinary path through the layer computes the same thing.
No longer needed when: translating with a post-norm ``transformer`` works without it.
"""

import functools

MODULES = ("fairseq.modules.transformer_layer",)


def after(module):
    layer = module.TransformerEncoderLayerBase
    original = layer.__init__

    @functools.wraps(original)
    def __init__(self, *arguments, **options):
        original(self, *arguments, **options)
        self.can_use_fastpath = False

    layer.__init__ = __init__

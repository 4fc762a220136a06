"""Training with ``--bf16`` on a CPU waits for attention's backward pass.

Concerns: PyTorch up to 2.13, whose fused attention takes three to four times as long backwards in bfloat16 on a CPU as the plain
one, and by that a fifth of an update of a small Transformer. Both compute the same.
No longer needed when: ``torch.nn.functional.scaled_dot_product_attention`` with a backward pass takes no longer with
``torch.backends.cuda.enable_flash_sdp(True)``, which despite its name is about CPUs, too.
"""

import functools

MODULES = ("fairseq.trainer",)


def after(module):
    original = module.Trainer.__init__

    @functools.wraps(original)
    def __init__(self, cfg, *arguments, **options):
        original(self, cfg, *arguments, **options)
        if cfg.common.bf16 and self.device.type == "cpu":
            module.torch.backends.cuda.enable_flash_sdp(False)

    module.Trainer.__init__ = __init__

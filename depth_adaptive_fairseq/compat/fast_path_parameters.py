"""Distributed training stops: ``Expected to have finished reduction in the prior iteration``.

Concerns: fairseq 0.12.2 with its default ``--ddp-backend pytorch_ddp``. Each encoder layer holds
a second copy of its weights for a fast path through PyTorch, which training never takes: these
parameters get no gradient, and DistributedDataParallel waits for one.
No longer needed when: ``TransformerEncoderLayerBase`` has no ``in_proj_weight`` of its own.
"""

import functools

MODULES = ("fairseq.models.distributed_fairseq_model",)


def after(module):
    """Have DistributedDataParallel leave these parameters out; checkpoints keep them."""
    original = module.DistributedDataParallel

    @functools.wraps(original, updated=())
    def distributed_data_parallel(module, **options):
        ignored = [*getattr(module, "_ddp_params_and_buffers_to_ignore", ()), *_unused(module)]
        original._set_params_and_buffers_to_ignore_for_model(module, ignored)
        return original(module, **options)

    module.DistributedDataParallel = distributed_data_parallel


def _unused(model):
    from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

    for prefix, layer in model.named_modules():
        if isinstance(layer, TransformerEncoderLayerBase):
            # Its working weights all belong to modules below it; its own are the copies.
            for name, _ in layer.named_parameters(recurse=False):
                yield f"{prefix}.{name}"

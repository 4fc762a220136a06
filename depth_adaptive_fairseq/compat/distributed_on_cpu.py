"""Distributed training without GPUs fails.

Concerns: fairseq 0.12.2. Its default ``--ddp-backend pytorch_ddp`` passes device ids, which
PyTorch refuses for a model on the CPU, and its workers exchange Python objects in a CUDA buffer.
(Processes have to be started by ``torchrun`` or the like: fairseq itself starts one for each GPU.)
No longer needed when: two processes with ``--distributed-backend gloo`` train on a CPU.
"""

import functools

MODULES = ("fairseq.models.distributed_fairseq_model", "fairseq.distributed.utils")


def after(module):
    if module.__name__ == "fairseq.distributed.utils":
        _mend_gathering(module)
    else:
        _mend_wrapper(module)


def _mend_wrapper(module):
    original = module.DistributedDataParallel

    @functools.wraps(original, updated=())
    def distributed_data_parallel(module, **options):
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            options.update(device_ids=None, output_device=None)
        return original(module, **options)

    module.DistributedDataParallel = distributed_data_parallel


def _mend_gathering(module):
    torch, original = module.torch, module.all_gather_list

    @functools.wraps(original)
    def all_gather_list(data, group=None, max_size=16384):
        if not torch.cuda.is_available():
            group = module.get_global_group() if group is None else group
            # fairseq keeps its buffers as attributes of the function and reuses them if they do.
            size = max_size * module.get_world_size(group)
            module.all_gather_list._buffer = torch.ByteTensor(size)
            module.all_gather_list._cpu_buffer = torch.ByteTensor(max_size)
        return original(data, group, max_size)

    module.all_gather_list = all_gather_list

"""``--bf16`` turns CUDA off and asks for torch_xla.

Concerns: fairseq 0.12.2, whose option parser takes bfloat16 for a property of TPUs and sets
``--tpu`` along with it. GPUs and CPUs of today compute in bfloat16.
No longer needed when: ``fairseq-train --bf16`` trains without torch_xla.
"""

import functools

MODULES = ("fairseq.options",)


def after(module):
    original = module.parse_args_and_arch

    @functools.wraps(original)
    def parse_args_and_arch(parser, input_args=None, *arguments, **options):
        result = original(parser, input_args, *arguments, **options)
        args = result[0] if isinstance(result, tuple) else result
        if getattr(args, "bf16", False) and getattr(args, "tpu", False):
            asked, _ = parser.parse_known_args(input_args)
            args.tpu = getattr(asked, "tpu", False)
        return result

    module.parse_args_and_arch = parse_args_and_arch

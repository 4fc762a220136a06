"""``--num-batch-buckets``: ``percentile() got an unexpected keyword argument 'interpolation'``.

Concerns: NumPy >= 2.4, which calls that argument ``method`` only, with fairseq 0.12.2.
No longer needed when: ``fairseq.data.data_utils.get_buckets`` says ``method``.
"""

from .overlay import Overlay

MODULES = ("fairseq.data.data_utils",)


def after(module):
    numpy = module.np

    def percentile(*arguments, interpolation="linear", **options):
        return numpy.percentile(*arguments, **{"method": interpolation, **options})

    module.np = Overlay(numpy, percentile=percentile)

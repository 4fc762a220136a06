"""``fairseq-generate --num-shards 3 --shard-id 0`` translates the whole set.

Concerns: fairseq 0.12.2. Every command takes the two options; fairseq-eval-lm alone heeds them. Here fairseq-generate
translates every third sentence, in the order of their lengths, so that shards take about equally long. The other commands
refuse the options.
No longer needed when: three shards of fairseq-generate translate a third each.
"""

import contextvars
import functools

from .user_errors import user_error

MODULES = (
    "fairseq.data.fairseq_dataset",
    "fairseq_cli.generate",
    "fairseq_cli.interactive",
    "fairseq_cli.train",
    "fairseq_cli.validate",
)

# (shard id, number of shards) while fairseq-generate runs.
_shard = contextvars.ContextVar("shard", default=None)


def after(module):
    if module.__name__ == "fairseq.data.fairseq_dataset":
        _mend_batches(module.FairseqDataset)
    elif module.__name__ == "fairseq_cli.generate":
        _mend_generate(module)
    else:
        _refuse(module)


def _mend_generate(module):
    original = module.main

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        shard_id, num_shards = shard = _asked_for(cfg)
        if not 0 <= shard_id < num_shards:
            raise user_error(
                f"--shard-id {shard_id} was given with --num-shards {num_shards}; shards are numbered from 0, so that the "
                "last is one less than their number, which is 1 or more"
            )
        token = _shard.set(shard)
        try:
            return original(cfg, *arguments, **options)
        finally:
            _shard.reset(token)

    module.main = main


def _mend_batches(dataset):
    original = dataset.batch_by_size

    @functools.wraps(original)
    def batch_by_size(self, indices, *arguments, **options):
        if _shard.get() is not None:
            shard_id, num_shards = _shard.get()
            if num_shards > max(1, len(indices)):
                raise user_error(
                    f"--num-shards {num_shards} was given for {len(indices)} sentences: give no more shards than sentences"
                )
            indices = indices[shard_id::num_shards]
        return original(self, indices, *arguments, **options)

    dataset.batch_by_size = batch_by_size


def _refuse(module):
    original = module.main

    @functools.wraps(original)
    def main(cfg, *arguments, **options):
        shard_id, num_shards = _asked_for(cfg)
        if (shard_id, num_shards) != (0, 1):
            command = f"fairseq-{module.__name__.rpartition('.')[2]}"
            raise user_error(
                f"--num-shards {num_shards} --shard-id {shard_id} was given, which {command} does not have; only "
                "fairseq-generate and fairseq-eval-lm divide their work so: leave the options out"
            )
        return original(cfg, *arguments, **options)

    module.main = main


def _asked_for(cfg):
    options = getattr(cfg, "dataset", cfg)  # a Namespace has no groups
    return options.shard_id, options.num_shards

"""Sentences that fit into no batch, and data without sentences or references, end in a traceback that names no sentence and no option.

Concerns: fairseq 0.12.2. ``--max-tokens 0`` and negative sizes of batches mean "no limit" there.
No longer needed when: ``fairseq-generate --max-tokens 3`` names the sentence that is longer.
"""

import functools

from .rephrasing import rephrase
from .user_errors import user_error

MODULES = ("fairseq.data.data_utils", "fairseq.data.iterators", "fairseq.tasks.fairseq_task", "fairseq_cli.generate")


def after(module):
    {
        "fairseq.data.data_utils": _mend_batches,
        "fairseq.data.iterators": _mend_empty,
        "fairseq.tasks.fairseq_task": _mend_task,
        "fairseq_cli.generate": _mend_generate,
    }[module.__name__](module)


def _mend_batches(module):
    original = module.batch_by_size

    @functools.wraps(original)
    def batch_by_size(
        indices, num_tokens_fn, num_tokens_vec=None, max_tokens=None, max_sentences=None, required_batch_size_multiple=1, **options
    ):
        given = {
            "--max-tokens": max_tokens, "--batch-size": max_sentences, "--required-batch-size-multiple": required_batch_size_multiple,
        }  # fmt: skip
        for option, value in given.items():
            if value is not None and value < 1:
                raise user_error(f"{option} {value} was given; it must be 1 or more")
        try:
            return original(
                indices, num_tokens_fn, num_tokens_vec, max_tokens, max_sentences, required_batch_size_multiple, **options
            )
        except AssertionError as error:
            if not str(error).startswith("Sentences lengths should not exceed"):
                raise
            size, longest = max((num_tokens_fn(index), index) for index in indices)
            raise user_error(
                f"sentence {longest} (counted from 0) has {size} tokens, end of sentence included, and --max-tokens {max_tokens} (for "
                "validation --max-tokens-valid) allows no batch to have more: raise it, or shorten the sentence",
                AssertionError,
            ) from error

    module.batch_by_size = batch_by_size


def _mend_empty(module):
    def empty(error, *arguments):
        if not str(error).startswith("The dataset is empty"):
            return None
        return user_error(
            "there is no sentence to train or validate on: the data set is empty, or all its sentences are longer than --max-tokens, "
            "--max-source-positions and --max-target-positions allow",
            Exception,
        )

    for iterator in (module.EpochBatchIterator, module.GroupedEpochBatchIterator):
        first_batch = vars(iterator).get("first_batch")
        if first_batch is not None:
            holder = type("Holder", (), {"get": first_batch.fget})
            rephrase(holder, "get", Exception, empty)
            iterator.first_batch = property(holder.get)


def _mend_task(module):
    task = module.FairseqTask

    def too_long(error, self, indices, dataset, max_positions=None, *arguments, **options):
        if not str(error).startswith("Size of sample #"):
            return None
        _, ignored = dataset.filter_indices_by_size(indices, max_positions)
        size = dataset.size(ignored[0])
        size = tuple(map(int, size)) if isinstance(size, tuple) else int(size)
        return user_error(
            f"{len(ignored)} sentences are longer than --max-source-positions and --max-target-positions allow, which is {max_positions} "
            f"tokens; the first, number {ignored[0]}, has {size}: shorten them, raise the limits, or skip them with "
            "--skip-invalid-size-inputs-valid-test",
            type(error),
        )

    rephrase(task, "filter_indices_by_size", Exception, too_long)
    for step in ("train_step", "valid_step"):
        _need_references(task, step)
    get_batch_iterator = task.get_batch_iterator

    @functools.wraps(get_batch_iterator)
    def mended(self, *arguments, **options):
        if options.get("num_workers", 0) < 0:
            raise user_error(f"--num-workers {options['num_workers']} was given; it must be 0 or more")
        return get_batch_iterator(self, *arguments, **options)

    task.get_batch_iterator = mended


def _need_references(task, step):
    original = getattr(task, step)

    @functools.wraps(original)
    def mended(self, sample, *arguments, **options):
        if isinstance(sample, dict) and sample.get("target", sample) is None:
            raise user_error(
                "the data set has no target side, which a loss is computed of: binarise it with both languages, or name another "
                "with --train-subset or --valid-subset"
            )
        return original(self, sample, *arguments, **options)

    setattr(task, step, mended)


def _mend_generate(module):
    def nothing_translated(error, cfg, output_file):
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        if trace.tb_frame.f_code.co_name != "_main":
            return None
        return user_error(
            f"nothing was translated: the data set {cfg.dataset.gen_subset} is empty, or all its sentences were skipped as too long",
            ZeroDivisionError,
        )

    rephrase(module, "_main", ZeroDivisionError, nothing_translated)

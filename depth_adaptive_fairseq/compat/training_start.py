"""What is known when a training starts ends it much later, or never: at its first validation, or with a model trained from scratch.

Concerns: fairseq 0.12.2. It reads the metric that chooses the best checkpoint, and batches the validation set, after the first epoch only.
A checkpoint that ``--restore-file`` names is passed over where it does not exist. ``--fp16`` ends in ``Torch not compiled with CUDA
enabled``.

Before the first update the validation set is batched, which the first validation would do, and where anything beyond the loss is asked
for, one sentence of it is validated to see what is logged. No result depends on that: each update sets its own seed.
No longer needed when: ``fairseq-train --best-checkpoint-metric bleu`` without ``--eval-bleu``, and ``--restore-file TYPO.pt``, end with a
sentence before the first update.
"""

import functools
import os
from collections.abc import Iterable

from .unknown_options import read_dictionary
from .user_errors import user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.data.data_utils", "fairseq.trainer", "fairseq_cli.train")

# What fairseq_cli.train adds to what is logged while validating.
_ALWAYS_THERE = {"num_updates"}


def after(module):
    {
        "fairseq.checkpoint_utils": _mend_restoring,
        "fairseq.data.data_utils": _mend_validation_splits,
        "fairseq.trainer": _mend_precision,
        "fairseq_cli.train": _mend_train,
    }[module.__name__](module)


def _mend_train(module):
    train, main = module.train, module.main

    @functools.wraps(train)
    def mended_train(cfg, trainer, task, epoch_itr):
        if not getattr(trainer, "validation_was_tried", False):
            trainer.validation_was_tried = True
            try_validation(cfg, trainer, task, module.metrics)
        return train(cfg, trainer, task, epoch_itr)

    @functools.wraps(main)
    def mended_main(cfg, *arguments, **options):
        try:
            return main(cfg, *arguments, **options)
        except AssertionError as error:
            if str(error) != "Must specify batch size either with --max-tokens or --batch-size":
                raise
            raise user_error("neither --max-tokens nor --batch-size was given: say how large a batch may be", AssertionError) from error

    module.train, module.main = mended_train, mended_main


def try_validation(cfg, trainer, task, metrics):
    """Find what would end the first validation, before the first update.

    Raises:
        ValueError: a user error; a sentence is too long, or nothing logs the metric of ``--best-checkpoint-metric``
    """
    if cfg.dataset.disable_validation or cfg.common.tpu:
        return
    dummy_batch = trainer._dummy_batch
    iterators = [trainer.get_valid_iterator(subset) for subset in cfg.dataset.valid_subset.split(",")]
    trainer.reset_dummy_batch(dummy_batch)

    metric = cfg.checkpoint.best_checkpoint_metric
    beyond_the_loss = metric != "loss" or getattr(cfg.task, "eval_bleu", False)
    if not beyond_the_loss or hasattr(task, "post_validate"):
        return
    sample = _one_sentence(iterators[0])
    if sample is None:
        return
    with metrics.aggregate(new_root=True) as logged:
        trainer.valid_step(sample)
        known = set(logged.get_smoothed_values())
    if metric not in known | _ALWAYS_THERE:
        hint = "; BLEU needs --eval-bleu" if metric == "bleu" else ""
        raise user_error(
            f"--best-checkpoint-metric {metric} was given, but this training's validation logs "
            f"{', '.join(sorted(known))}: name one of them{hint}"
        )


def _one_sentence(iterator):
    """A batch of one sentence, or None if it is not to be had; out of the longest batch, for some metrics need a word or two."""
    batches = getattr(iterator, "frozen_batches", ())
    index = batches[-1][0] if batches else ()
    if isinstance(index, Iterable) or not getattr(iterator.dataset, "supports_fetch_outside_dataloader", True):
        return None
    return iterator.collate_fn([iterator.dataset[index]])


def _mend_validation_splits(module):
    original = module.raise_if_valid_subsets_unintentionally_ignored

    @functools.wraps(original)
    def raise_if_valid_subsets_unintentionally_ignored(train_cfg):
        try:
            original(train_cfg)
        except ValueError as error:
            # fairseq compares names such as valid1.de-en.de with valid1, so that naming them does not help either.
            splits = {path.partition(".")[0] for path in module._find_extra_valid_paths(train_cfg.task.data)}
            ignored = sorted(splits.difference(train_cfg.dataset.valid_subset.split(",")))
            if ignored:
                raise user_error(
                    f"the data folder also holds the validation sets {', '.join(ignored)}, which --valid-subset "
                    f"{train_cfg.dataset.valid_subset} leaves out: name them there, with commas, combine them with "
                    "--combine-valid-subsets, or leave them out with --ignore-unused-valid-subsets"
                ) from error

    module.raise_if_valid_subsets_unintentionally_ignored = raise_if_valid_subsets_unintentionally_ignored


def _mend_restoring(module):
    original = module.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg, trainer, **options):
        refuse_missing(cfg, trainer.checkpoint_suffix, module.PathManager)
        overrides = read_dictionary("--optimizer-overrides", cfg.optimizer_overrides)
        known = {name for group in trainer.optimizer.param_groups for name in group} if overrides else ()
        for name in overrides:
            if name not in known:
                raise user_error(
                    f"--optimizer-overrides: {name} was given, which the optimizer does not have: choose of {', '.join(sorted(known))}"
                )
        return original(cfg, trainer, **options)

    module.load_checkpoint = load_checkpoint


def refuse_missing(cfg, suffix, path_manager):
    """Refuse a checkpoint that an option names and that is no file; the default one may be absent.

    Raises:
        ValueError: a user error
    """
    default = cfg.restore_file == "checkpoint_last.pt"
    if not default:
        named = {"--restore-file": cfg.restore_file.replace(".pt", f"{suffix or ''}.pt")}
    elif path_manager.isfile(f"{cfg.save_dir}/checkpoint_last{suffix or ''}.pt"):
        return
    else:
        named = {"--continue-once": cfg.get("continue_once"), "--finetune-from-model": cfg.finetune_from_model}
    for option, path in named.items():
        if path is not None and not path_manager.isfile(path):
            what = "is a folder" if os.path.isdir(path) else "does not exist"
            raise user_error(
                f"{option} {path} {what}: name the file of a checkpoint, by its path from the current directory, or leave the "
                "option out"
            )


def _mend_precision(module):
    original = module.Trainer.__init__

    @functools.wraps(original)
    def __init__(self, cfg, *arguments, **options):
        common = getattr(cfg, "common", cfg)
        on_a_gpu = module.torch.cuda.is_available() and not common.cpu
        if common.fp16 and not (common.memory_efficient_fp16 or on_a_gpu or common.tpu):
            raise user_error(
                "--fp16 was given for a training on a CPU, but fairseq keeps the float32 copy of its parameters on a GPU: give "
                "--memory-efficient-fp16 or --bf16, or leave it out"
            )
        original(self, cfg, *arguments, **options)

    module.Trainer.__init__ = __init__

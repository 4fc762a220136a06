"""A validation that fails, or that is killed, loses what was trained since the last checkpoint: the whole of a first epoch.

Concerns: fairseq 0.12.2, which validates first and writes the checkpoint afterwards, so that it can tell whether it is the best one.

``checkpoint_last.pt`` (or, with ``--no-last-checkpoints``, the file of this epoch or update) is written before each validation and, as
ever, after it. Training that goes on from the first of the two has equal losses from there on; it does not repeat the validation, nor write
that point's other files again, so that what a kill left half-written of them is removed when training goes on.
No longer needed when: a training whose first validation raises an exception leaves a checkpoint.
"""

import copy
import functools
import glob
import os

MODULES = ("fairseq.checkpoint_utils", "fairseq_cli.train")


def after(module):
    if module.__name__ == "fairseq_cli.train":
        _mend_validate(module)
    else:
        _mend_load(module)


def _mend_load(module):
    original = module.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(cfg, trainer, **options):
        if trainer.data_parallel_rank == 0 and not cfg.no_save:
            for path in glob.glob(os.path.join(glob.escape(cfg.save_dir), "checkpoint*.pt.tmp")):
                if os.path.isfile(path):
                    os.remove(path)
        return original(cfg, trainer, **options)

    module.load_checkpoint = load_checkpoint


def _mend_validate(module):
    original = module.validate

    @functools.wraps(original)
    def validate(cfg, trainer, task, epoch_itr, subsets):
        save_before(module.checkpoint_utils, cfg.checkpoint, trainer, epoch_itr)
        return original(cfg, trainer, task, epoch_itr, subsets)

    module.validate = validate


def save_before(checkpoint_utils, cfg, trainer, epoch_itr):
    """Write the state of a training as it is, without a result of a validation."""
    cfg = copy.deepcopy(cfg)
    if not cfg.no_last_checkpoints:
        # The other files of this point, and the removal of old ones, wait for the result.
        cfg.no_epoch_checkpoints = True
        cfg.save_interval_updates = 0
    cfg.keep_interval_updates = cfg.keep_last_epochs = cfg.keep_best_checkpoints = -1
    checkpoint_utils.save_checkpoint(cfg, trainer, epoch_itr, None)

"""A user's mistake leaves a useless ``crash.pt``.

Concerns: fairseq 0.12.2, whose trainer saves a checkpoint of that name on any exception in a training step, also when the
exception says that the training's options do not go together.
No longer needed when: fairseq saves it for failures of its own only.
"""

import functools
import os
import sys

from .user_errors import is_user_error

MODULES = ("fairseq.trainer",)


def after(module):
    """Let the trainer skip the checkpoint where the error is for the user to solve."""
    original = module.Trainer.save_checkpoint

    @functools.wraps(original)
    def save_checkpoint(self, filename, extra_state):
        if os.path.basename(filename) == "crash.pt" and is_user_error(sys.exc_info()[1]):
            return
        original(self, filename, extra_state)

    module.Trainer.save_checkpoint = save_checkpoint

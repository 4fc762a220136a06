"""Warnings in every run that the user can do nothing about.

Concerns: fairseq 0.12.2 with PyTorch >= 2.0, which deprecates how fairseq calls it, and with
Python >= 3.12, which warns of backslashes in fairseq's source when that is compiled.
No longer needed when: the list below is empty; each entry says where its warning comes from.
"""

import contextlib
import logging
import warnings

MODULES = ("fairseq", "fairseq.tasks.text_to_speech")

# (category, pattern of the message, pattern of the module that the warning is attributed to)
KNOWN = (
    # fairseq pins memory in all data loaders, whether there is a GPU or not.
    (UserWarning, r"'pin_memory' argument is set as true but no", r"torch\.utils\.data"),
    # fairseq.tasks.fairseq_task and fairseq.optim.amp_optimizer.
    (FutureWarning, r"`torch\.cuda\.amp\.(autocast|GradScaler)", r"fairseq\."),
    # fairseq.modules.multihead_attention passes masks of different types.
    (UserWarning, r"Support for mismatched \w+ and \w+ is deprecated", r"torch\.nn\.functional"),
    # fairseq.models.distributed_fairseq_model.
    (FutureWarning, r"`broadcast_buffers` is deprecated", r".*(fairseq\.models|\.compat)\."),
    # The first compilation of fairseq's files, where the installer has not done it.
    (SyntaxWarning, r"(invalid escape sequence|\"\\|\"is)", r".*[/\\]fairseq(_cli)?[/\\]"),
)


@contextlib.contextmanager
def during(name):
    """Set the filters before anything of fairseq runs, behind those that the user set."""
    if name == "fairseq":
        for category, message, module in KNOWN:
            warnings.filterwarnings("ignore", message, category, module, append=True)
        yield
    else:
        # Says at import that tensorboardX is missing, which only speech synthesis wants.
        logger = logging.getLogger(name)
        logger.disabled = True
        try:
            yield
        finally:
            logger.disabled = False

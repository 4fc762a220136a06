"""Checkpoints that are a working one but for what a test changes."""

import torch
from fairseq import checkpoint_utils


def altered(checkpoint, path, change):
    """Save at *path* what *change* makes of the state of *checkpoint*, which it changes in place."""
    state = checkpoint_utils.torch.load(str(checkpoint))
    change(state)
    torch.save(state, path)
    return path


def options_of_model(state):
    """The options of the model in a checkpoint's configuration, as a dictionary to change."""
    model = state["cfg"]["model"]
    return model if isinstance(model, dict) else vars(model)

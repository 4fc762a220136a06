"""Randomly drawn exits for mixed training."""

import numpy as np
import torch
from torch import Tensor


def draw_exit_paths(sentence_ids: Tensor, length: int, paths: int, num_exits: int, seed: int, update: int) -> Tensor:
    """Draw an exit, uniformly from 1..N, for every position of *paths* paths of each sentence.

    The draw depends on the seed, the update and the sentence's id alone: not on the batch that the sentence is in, nor on
    the number of processes.

    Args:
        sentence_ids: ``(batch,)``.
        length: positions.
        update: how many updates the model has been trained for.

    Returns:
        ``(batch, paths, length)``.
    """
    drawn = [
        # Transposed, so that a sentence's first positions do not depend on the padding behind it.
        np.random.default_rng((seed, update, sentence)).integers(1, num_exits + 1, size=(length, paths)).T
        for sentence in sentence_ids.tolist()
    ]
    return torch.from_numpy(np.stack(drawn)).to(sentence_ids.device)

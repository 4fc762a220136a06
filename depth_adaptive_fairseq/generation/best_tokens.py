"""The best continuations of each row: the first half of a step of beam search."""

from typing import List, Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.search_options import SearchOptions
from depth_adaptive_fairseq.native import kernels


class BestTokens:
    """From logits to the best 2 x beam tokens of each row, by the native kernels or by PyTorch.

    Args:
        native: whether the kernels may be used; they take float32 logits on a CPU.
    """

    def __init__(self, options: SearchOptions, native: bool):
        self.options = options
        self.width = 2 * options.beam_size
        self._library = kernels.library() if native else None
        self._suppressed = torch.tensor([options.pad, *options.suppressed])
        self._suppressed_and_end = torch.cat([self._suppressed, torch.tensor([options.eos])])

    def __call__(self, logits: Tensor, step: int) -> Tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and tokens, both ``(rows, 2 beam)``, the best first; a token that must not follow has -inf.

        Args:
            logits: ``(rows, V)``; may be overwritten.
        """
        options = self.options
        if options.temperature != 1.0:
            logits = logits / options.temperature
        if step >= options.max_len:  # nothing but the end is left
            return self._only_the_end(logits)
        if self._library is not None and logits.device.type == "cpu" and logits.dtype == torch.float32:
            suppressed = self._suppressed_and_end if step < options.min_len else self._suppressed
            return kernels.best_tokens(
                self._library, logits, self.width, suppressed, options.unk, options.unk_penalty
            )
        return self._by_pytorch(logits, step)

    def _only_the_end(self, logits: Tensor) -> Tuple[np.ndarray, np.ndarray]:
        scores = logits.log_softmax(dim=-1, dtype=torch.float32)
        best = np.full((logits.size(0), self.width), -np.inf, dtype=np.float32)
        best[:, 0] = scores[:, self.options.eos].cpu().numpy()
        return best, np.full(best.shape, self.options.eos)

    def _by_pytorch(self, logits: Tensor, step: int) -> Tuple[np.ndarray, np.ndarray]:
        options = self.options
        # One fused pass; PyTorch's logsumexp alone takes longer.
        scores = logits.log_softmax(dim=-1, dtype=torch.float32)
        never: List[int] = [options.pad, *options.suppressed]
        if step < options.min_len:
            never.append(options.eos)
        scores[:, never] = -torch.inf
        if options.unk_penalty != 0.0:
            scores[:, options.unk] -= options.unk_penalty
        best, tokens = scores.topk(self.width, dim=-1)
        return torch.nan_to_num(best, nan=-torch.inf, neginf=-torch.inf).cpu().numpy(), tokens.cpu().numpy()

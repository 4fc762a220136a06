"""The best continuations of each row: the first half of a step of beam search."""

from typing import Tuple

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.batch_decoder import BatchDecoder, Leavers
from depth_adaptive_fairseq.generation.search_options import SearchOptions
from depth_adaptive_fairseq.native import kernels


class BestTokens:
    """Decodes a step, and goes from each row's prediction to its best 2 x beam tokens, by the native kernels or by PyTorch.

    Args:
        device: of the models.
    """

    def __init__(self, options: SearchOptions, decoder: BatchDecoder, device: torch.device):
        self.options = options
        self.decoder = decoder
        self.device = device
        self.width = 2 * options.beam_size
        self._never = [np.array([options.pad, *options.suppressed, *end]) for end in ([options.eos], [])]
        self._choices = [kernels.CandidateOptions.of(self.width, never, options.unk, options.unk_penalty) for never in self._never]

    def __call__(self, prefixes: np.ndarray, step: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log-probabilities and tokens, both ``(rows, 2 beam)``, the best first, and exits, ``(rows,)``.

        A token that must not follow has a log-probability of -inf.

        Args:
            prefixes: ``(rows, step + 1)``.
        """
        whole = self.options.temperature == 1.0 and step < self.options.max_len and self.decoder.can_search(step)
        if whole:
            return self.decoder.search_step(prefixes[:, -1], self._choices[step >= self.options.min_len])
        groups = self.decoder.step(torch.from_numpy(prefixes).to(self.device))
        if groups[0].rows is None:
            return (*self._of_group(groups[0], step), np.full(len(prefixes), groups[0].exit_index))
        best = np.empty((len(prefixes), self.width), dtype=np.float32)
        tokens, exits = np.empty(best.shape, dtype=np.int64), np.empty(len(prefixes), dtype=np.int64)
        for group in groups:
            rows = group.rows.cpu().numpy()
            best[rows], tokens[rows] = self._of_group(group, step)
            exits[rows] = group.exit_index
        return best, tokens, exits

    def _of_group(self, group: Leavers, step: int) -> Tuple[np.ndarray, np.ndarray]:
        if step >= self.options.max_len:  # nothing but the end is left
            return self._only_the_end(group)
        if not self.decoder.native:
            return self._by_pytorch(group, step)
        choice = self._choices[step >= self.options.min_len]
        if group.output.has_logits or self.options.temperature != 1.0:
            return kernels.candidates_of_logits(kernels.library(), self._logits(group), choice)
        classifier, states = group.output.classifiers[0].native(group.output.hidden[0])
        group.output.work.add_classifier(states.size(0))
        return kernels.candidates_of_states(kernels.library(), classifier, states, choice)

    def _logits(self, group: Leavers) -> Tensor:
        logits = group.output.logits()[0]
        return logits if self.options.temperature == 1.0 else logits / self.options.temperature

    def _log_probabilities(self, group: Leavers) -> Tensor:
        # One fused pass; PyTorch's logsumexp alone takes longer.
        return self._logits(group).log_softmax(dim=-1, dtype=torch.float32)  # (rows, V)

    def _only_the_end(self, group: Leavers) -> Tuple[np.ndarray, np.ndarray]:
        scores = self._log_probabilities(group)
        best = np.full((scores.size(0), self.width), -np.inf, dtype=np.float32)
        best[:, 0] = scores[:, self.options.eos].cpu().numpy()
        return best, np.full(best.shape, self.options.eos)

    def _by_pytorch(self, group: Leavers, step: int) -> Tuple[np.ndarray, np.ndarray]:
        options = self.options
        scores = self._log_probabilities(group)
        scores[:, self._never[step >= options.min_len]] = -torch.inf
        if options.unk_penalty != 0.0:
            scores[:, options.unk] -= options.unk_penalty
        best, tokens = scores.topk(self.width, dim=-1)
        return torch.nan_to_num(best, nan=-torch.inf, neginf=-torch.inf).cpu().numpy(), tokens.cpu().numpy()

"""A decoder of one row whose blocks change nothing, so that a test gives the logits of every exit itself."""

import ctypes

import numpy as np
import torch
from torch import Tensor

from depth_adaptive_fairseq.native import kernels


class OneRow:
    """h^n is ``[1.0]`` behind every block, and exit n predicts ``logits[n - 1]``.

    Args:
        logits: ``(N, V)``, float32, anything.
    """

    def __init__(self, library, logits: Tensor):
        self.library = library
        self.blocks = len(logits)
        zero = kernels.Linear(torch.zeros(1, 1), None, False, library)
        zeros = kernels.Linear(torch.zeros(2, 1), None, False, library)
        one, nothing = torch.ones(1), torch.zeros(1)
        projections = [kernels.Linear(row[:, None], None, False, library) for row in logits]
        self._entries, self._filled = np.zeros((1, 1), dtype=np.int64), torch.zeros(self.blocks, 1, dtype=torch.bool)
        self._prefix, self._exit_states = torch.zeros(self.blocks, 2), torch.zeros(1, 1)
        self._sentences = np.zeros(1, dtype=np.int64)
        self.hypotheses = kernels.Hypotheses(
            self._entries.ctypes.data, 1, 1, self._sentences.ctypes.data, self._exit_states.data_ptr(), self.blocks
        )
        norms = {f"{name}_norm_{part}": x.data_ptr() for name in ("self", "final") for part, x in (("weight", one), ("bias", nothing))}
        layers = kernels.BlockLayers(
            query=zero.handle, keys_values=zeros.handle, self_out=zero.handle, inner=zero.handle, outer=zero.handle,
            self_norm_epsilon=1.0, final_norm_epsilon=1.0, pre_norm=1, activation=kernels.Activation.RELU, width=1, heads=1, **norms,
        )  # fmt: skip
        self.layers = (kernels.BlockLayers * self.blocks)(*[layers] * self.blocks)
        self.states = (kernels.BlockState * self.blocks)()
        for number, state in enumerate(self.states, start=1):
            state.number, state.hypotheses = number, ctypes.pointer(self.hypotheses)
            state.prefix, state.filled = self._prefix[number - 1].data_ptr(), self._filled[number - 1].data_ptr()
        self.classifiers = (kernels.Classifier * self.blocks)(*(kernels.classifier(None, each) for each in projections))
        self._keeps = (zero, zeros, one, nothing, projections)
        self.options = kernels.CandidateOptions.of(1, np.array([], dtype=np.int64), 0, 0.0)

    def exit(self, rule: kernels.ExitRule, known_exit=None) -> int:
        """The exit that *rule* chooses."""
        self._filled.zero_()
        self.hypotheses.lowest_exit = self.blocks
        step = kernels.SearchStep(
            blocks=self.blocks, width=1, layers=self.layers, states=self.states, classifiers=self.classifiers,
            rule=ctypes.pointer(rule), embedding=self._keeps[2].data_ptr(), embedding_scale=1.0,
        )  # fmt: skip
        known = None if known_exit is None else np.array([known_exit])
        _, _, (found,) = kernels.run_search_step(self.library, step, self.hypotheses, np.zeros(1), self.options, known)
        return int(found)

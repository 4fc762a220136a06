"""Exit policies that ask the model's halting classifier (section 3, the column "at inference").

Each takes the halting classifiers of all ensemble members; they are averaged as probabilities.
"""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor

from depth_adaptive_fairseq.generation.exit_policies import ExitPolicy, ExitRule, mean_over_members
from depth_adaptive_fairseq.modules.precision import widen


class SequenceExit(ExitPolicy):
    """One exit for the whole sentence, the most probable one given the mean encoder output (Eq. 8)."""

    name = "sequence"

    def __init__(self, classifiers: Sequence):
        self.classifiers = list(classifiers)

    def start(self, source):
        distributions = [
            classifier.logits(encoder_out).softmax(dim=-1)
            for classifier, encoder_out in zip(self.classifiers, source.encoder_outs)
        ]
        return mean_over_members(distributions).argmax(dim=-1) + 1  # (sentences,)

    def begin_step(self, prefixes, kept):
        return lambda exit_index, rows, block: kept[rows] == exit_index


class MultinomialExit(ExitPolicy):
    """The most probable exit given h^1 (Eq. 11); the blocks up to it are run."""

    name = "multinomial"

    def __init__(self, classifiers: Sequence):
        self.classifiers = list(classifiers)

    def begin_step(self, prefixes, kept):
        exits = torch.ones_like(prefixes[:, 0])  # decided behind block 1

        def leave(exit_index, rows, block):
            if exit_index == 1:
                distributions: List = [
                    classifier.logits(hidden).softmax(dim=-1)
                    for classifier, hidden in zip(self.classifiers, block.hidden)
                ]
                exits[rows] = mean_over_members(distributions).argmax(dim=-1) + 1
            return exits[rows] == exit_index

        return leave


class GeometricExit(ExitPolicy):
    """The first exit n < N whose stopping probability chi^n exceeds tau_n (Eqs. 12 and 13)."""

    name = "geometric"

    def __init__(self, classifiers: Sequence, thresholds: Sequence[float]):
        self.classifiers = list(classifiers)
        self.thresholds = list(thresholds)
        self._layers: List[List[Tuple[Tensor, Tensor]]] = []  # of each member and exit

    def start(self, source):
        # Looked up once a batch: a decision is a handful of numbers, and finding a parameter costs more than using it.
        self._layers = [
            [classifier.layer(exit_index) for exit_index in range(1, len(self.thresholds) + 1)] for classifier in self.classifiers
        ]

    def begin_step(self, prefixes, kept):
        def leave(exit_index, rows, block):
            chi = [
                torch.addmv(bias, widen(hidden), weight).sigmoid()
                for (weight, bias), hidden in zip((member[exit_index - 1] for member in self._layers), block.hidden)
            ]
            return mean_over_members(chi) > self.thresholds[exit_index - 1]

        return leave

    def rule(self):
        plain = type(self) is GeometricExit and len(self._layers) == 1
        plain = plain and all(weight.dtype == torch.float32 for weight, _ in self._layers[0])
        return ExitRule(None, self._layers[0], self.thresholds) if plain else None

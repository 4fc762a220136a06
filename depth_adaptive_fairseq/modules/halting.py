"""Halting classifiers: q_t, the predicted distribution over exits (section 3, Eqs. 8 and 11 to 13).

Each is one linear layer. They work in float32 or wider and in log-space whatever the model's precision, autocast included, so
that large states, a chi near 0 or 1 and a depth of 24 stay finite in float16 too.
"""

from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from depth_adaptive_fairseq.modules.precision import wide_linear, widen

# A checkpoint stores the kind as its number here: add new kinds at the end.
HALTING_KINDS = ("none", "sequence", "multinomial", "geometric")


class HaltingClassifier(nn.Module):
    """A classifier of exits.

    Attributes:
        kind: its name in ``--halting``.
        per_sentence: whether it predicts one exit for the whole sentence.
        kind_number: *kind* as a buffer, by which checkpoints of different kinds are told apart.
    """

    kind: str
    per_sentence = False

    def __init__(self):
        super().__init__()
        self.register_buffer("kind_number", torch.tensor(HALTING_KINDS.index(self.kind)))

    def log_distribution(self, logits: Tensor) -> Tensor:
        """log q, ``(..., N)``, from the logits that a forward pass gives."""
        return logits.log_softmax(dim=-1)

    def predict(self, logits: Tensor) -> Tensor:
        """The exit taken at inference, from 1, ``(...)``, given the same: the most probable one."""
        return logits.argmax(dim=-1) + 1

    def rows(self, num_exits: int) -> Tuple[Tensor, Tensor]:
        """Weight, ``(logits, inputs)``, and bias, ``(logits,)``, of all logits, in float32 or wider, for inference."""
        projection = next(module for module in self.modules() if isinstance(module, nn.Linear))
        return widen(projection.weight.detach()), widen(projection.bias.detach())

    def zero(self) -> Tensor:
        """0, with a gradient of 0 for every parameter: what a loss without this classifier adds for distributed training.

        Finite whatever the parameters' sum is in half precision.
        """
        return sum((0.0 * widen(parameter)).sum() for parameter in self.parameters())


class SequenceHalting(HaltingClassifier):
    """One distribution for the whole sentence: softmax(W_h s + b_h), s the mean encoder output (Eq. 8)."""

    kind = "sequence"
    per_sentence = True

    def __init__(self, encoder_width: int, num_exits: int):
        super().__init__()
        self.projection = _linear(encoder_width, num_exits)

    def logits(self, encoder_out: Dict[str, List[Tensor]]) -> Tensor:
        """From fairseq's encoder output, over its unpadded positions only, to ``(batch, N)``."""
        states = widen(encoder_out["encoder_out"][0])  # (src_len, batch, encoder width)
        if len(encoder_out["encoder_padding_mask"]) > 0:
            real = ~encoder_out["encoder_padding_mask"][0].t().unsqueeze(-1)  # (src_len, batch, 1)
            mean = (states * real).sum(dim=0) / real.sum(dim=0)
        else:
            mean = states.mean(dim=0)
        return wide_linear(self.projection, mean)

    def forward(self, hidden: List[Tensor], encoder_out: Dict[str, List[Tensor]]) -> Tensor:
        """The logits of q, ``(batch, 1, N)``."""
        return self.logits(encoder_out).unsqueeze(1)


class MultinomialHalting(HaltingClassifier):
    """One distribution a token, from the first block's output: softmax(W_h h_t^1 + b_h) (Eq. 11)."""

    kind = "multinomial"

    def __init__(self, decoder_width: int, num_exits: int):
        super().__init__()
        self.projection = _linear(decoder_width, num_exits)

    def logits(self, first_hidden: Tensor) -> Tensor:
        """From h^1, ``(..., width)``, to ``(..., N)``."""
        return wide_linear(self.projection, first_hidden)

    def forward(self, hidden: List[Tensor], encoder_out: Dict[str, List[Tensor]]) -> Tensor:
        """The logits of q, ``(batch, tgt_len, N)``, from h^1 .. h^N, each ``(batch, tgt_len, width)``."""
        return self.logits(hidden[0])


class GeometricHalting(HaltingClassifier):
    """A decision behind every block but the last: chi_t^n = sigmoid(w_h h_t^n + b_h) (Eqs. 12 and 13).

    Args:
        per_block: a layer of its own for each block, instead of one for all.
    """

    kind = "geometric"

    def __init__(self, decoder_width: int, num_exits: int, per_block: bool = False):
        super().__init__()
        copies = num_exits - 1 if per_block else 1
        self.projections = nn.ModuleList(_linear(decoder_width, 1) for _ in range(copies))

    def logits(self, exit_index: int, hidden: Tensor) -> Tensor:
        """The logit of chi^n, from h^n, ``(..., width)``, to ``(...)``; *exit_index* counts from 1."""
        return wide_linear(self._projection(exit_index), hidden).squeeze(-1)

    def rows(self, num_exits: int) -> Tuple[Tensor, Tensor]:
        """Those of chi^1 .. chi^{N-1}."""
        layers = [self._projection(exit_index) for exit_index in range(1, num_exits)]
        if not layers:
            return super().rows(num_exits)
        return tuple(widen(torch.cat([getattr(layer, name).detach() for layer in layers])) for name in ("weight", "bias"))

    def _projection(self, exit_index: int) -> nn.Linear:
        return self.projections[0 if len(self.projections) == 1 else exit_index - 1]

    def forward(self, hidden: List[Tensor], encoder_out: Dict[str, List[Tensor]]) -> Tensor:
        """The logits of chi^1 .. chi^{N-1}, ``(batch, tgt_len, N - 1)``, from h^1 .. h^N, each ``(batch, tgt_len, width)``."""
        logits = [self.logits(n, h) for n, h in enumerate(hidden[:-1], start=1)]
        return torch.stack(logits, dim=-1) if logits else widen(hidden[0][..., :0])

    def log_distribution(self, logits: Tensor) -> Tensor:
        """log q, ``(..., N)``, of Eq. 13."""
        return geometric_log_distribution(logits)

    def predict(self, logits: Tensor) -> Tensor:
        """The first exit whose chi exceeds 0.5, else N."""
        last = logits.new_ones(*logits.shape[:-1], 1)
        return (torch.cat([logits.sigmoid(), last], dim=-1) > 0.5).int().argmax(dim=-1) + 1


def geometric_log_distribution(logits: Tensor) -> Tensor:
    """log q of Eq. 13 from the logits of chi^1 .. chi^{N-1}.

    log q(n) = log chi^n + sum_{n' < n} log(1 - chi^{n'}); exit N takes the remainder, whose last term is missing.

    Args:
        logits: ``(..., N - 1)``.

    Returns:
        ``(..., N)``.
    """
    stay = logsigmoid(-logits).cumsum(dim=-1)  # (..., N - 1), having passed exit n
    certain = logits.new_zeros(*logits.shape[:-1], 1)
    reached = torch.cat([certain, stay], dim=-1)  # (..., N)
    leave = torch.cat([logsigmoid(logits), certain], dim=-1)
    return reached + leave


def build_halting(kind: str, encoder_width: int, decoder_width: int, num_exits: int, per_block: bool) -> Optional[HaltingClassifier]:
    """The halting classifier of ``--halting`` *kind*, or None for ``none``.

    Raises:
        KeyError: an unknown kind.
    """
    return {
        "none": lambda: None,
        "sequence": lambda: SequenceHalting(encoder_width, num_exits),
        "multinomial": lambda: MultinomialHalting(decoder_width, num_exits),
        "geometric": lambda: GeometricHalting(decoder_width, num_exits, per_block),
    }[kind]()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer

"""Algorithm 2 of the paper, deliberately slow: one hypothesis, no caches, no batch.

Whatever is asked for, the whole prefix is computed again from its tokens and their exits.
"""

from dataclasses import dataclass
from typing import Sequence

import torch

from tests.reference.slow_layers import decoder_block, layer_norm, linear, softmax
from tests.reference.slow_policies import SlowPolicy, SlowPosition


@dataclass
class SlowPrediction:
    """What one position predicts.

    Attributes:
        exit: q(t), from 1.
        log_probabilities: ``(vocabulary,)``
    """

    exit: int
    log_probabilities: torch.Tensor


class SlowMember:
    """One model of the ensemble on one source sentence."""

    def __init__(self, model, source: Sequence[int]):
        self.decoder = model.decoder
        self.num_exits = len(model.decoder.layers)
        tokens = torch.tensor([list(source)])
        self.source = model.encoder(tokens, torch.tensor([len(source)]))["encoder_out"][0][:, 0]

    def embed(self, tokens: Sequence[int]) -> torch.Tensor:
        """h^0 of all positions, ``(tgt_len, width)``."""
        decoder = self.decoder
        hidden = decoder.embed_scale * torch.stack([decoder.embed_tokens.weight[token] for token in tokens])
        if decoder.project_in_dim is not None:
            hidden = linear(decoder.project_in_dim, hidden)
        if decoder.embed_positions is not None:
            table = getattr(decoder.embed_positions, "weight", None)
            if table is None:
                table = decoder.embed_positions.weights  # sinusoidal
            first = decoder.embed_tokens.padding_idx + 1
            hidden = hidden + table[first : first + len(tokens)].to(hidden)
        if decoder.layernorm_embedding is not None:
            hidden = layer_norm(decoder.layernorm_embedding, hidden)
        return hidden

    def block(self, index: int, hidden: torch.Tensor) -> torch.Tensor:
        """Block *index* (from 1) on all positions."""
        cfg = self.decoder.cfg
        return decoder_block(
            self.decoder.layers[index - 1], cfg.activation_fn, hidden, self.source, cfg.cross_self_attention
        )

    def logits(self, exit_index: int, state: torch.Tensor) -> torch.Tensor:
        """The output classifier C_n of exit *exit_index* on one raw block output, ``(width,)``."""
        classifiers = self.decoder.exit_classifiers
        classifier = classifiers[exit_index - 1] if len(classifiers) > 1 else classifiers[0]
        if classifier.layer_norm is not None:
            state = layer_norm(classifier.layer_norm, state)
        if classifier.project_out is not None:
            state = linear(classifier.project_out, state)
        return linear(classifier.projection, state)  # (vocabulary,)


class SlowDecoder:
    """Algorithm 2 for one source sentence.

    Args:
        models: the ensemble: one exit for all; their probabilities are averaged.
        source: the source tokens, without padding.
        policy: when a token leaves.
        temperature: divides the logits of the prediction, not those that the policy sees.
    """

    def __init__(self, models, source: Sequence[int], policy: SlowPolicy, temperature: float = 1.0):
        self.members = [SlowMember(model, source) for model in models]
        self.num_exits = self.members[0].num_exits
        self.policy = policy
        self.temperature = temperature

    def predict(self, tokens: Sequence[int], exits: Sequence[int]) -> SlowPrediction:
        """Decode the last of the decoder's input *tokens*, whose predecessors left at *exits*.

        Every block runs on all positions, but of a position that has left below it the output is thrown away: its state
        stays the one it left with, and that is what the block's keys and values are made of.
        """
        assert len(exits) == len(tokens) - 1
        hidden = [member.embed(tokens) for member in self.members]
        newest = SlowPosition(self.members, tokens)
        for n in range(1, self.num_exits + 1):
            has_left = torch.tensor([exit_index < n for exit_index in exits] + [False])
            for m, member in enumerate(self.members):
                hidden[m] = self.carry(has_left, hidden[m], member.block(n, hidden[m]))
            newest.add_block([states[-1] for states in hidden])
            if n == self.num_exits or self.policy.leaves(n, newest):
                return SlowPrediction(n, self._log_probabilities(n, hidden))
        raise AssertionError("a decoder without blocks")

    def carry(self, has_left: torch.Tensor, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        """The states that go up from a block: copied from *below* where a position has left, else the block's."""
        return torch.where(has_left[:, None], below, above)

    def _log_probabilities(self, n: int, hidden) -> torch.Tensor:
        logits = [member.logits(n, states[-1]) for member, states in zip(self.members, hidden)]
        probabilities = [softmax(each / self.temperature) for each in logits]
        return torch.log(sum(probabilities) / len(probabilities))

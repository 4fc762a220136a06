"""What decoding costs: FLOPs per output token (appendix B), decoder only."""

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class DecoderSizes:
    """The sizes that the cost depends on.

    Attributes:
        num_exits: N, decoder blocks.
        vocabulary: V.
        decoder_width: d_d.
        encoder_width: d_e.
        ffn_width: d_f, the decoder's.
    """

    num_exits: int
    vocabulary: int
    decoder_width: int
    encoder_width: int
    ffn_width: int

    @classmethod
    def of(cls, model) -> "DecoderSizes":
        """The sizes of a depth-adaptive (or stock) Transformer *model*."""
        decoder = model.decoder
        return cls(
            num_exits=len(decoder.layers),
            vocabulary=len(decoder.dictionary),
            decoder_width=decoder.embed_dim,
            encoder_width=model.cfg.encoder.embed_dim,
            ffn_width=decoder.layers[0].fc1.out_features,
        )


def sentence_flops(sizes: DecoderSizes, policy, exits: Sequence[int], source_length: int) -> int:
    """FLOPs of decoding one sentence whose tokens left at *exits*.

    A block's first call in the sentence builds its cross-attention keys and values. A policy of one depth
    (``full``, ``fixed``) skips nothing, so its tokens pay for no copied states. What deciding costs is part of the policy; one that
    reads predictions has run the last one's classifier with that.

    Args:
        policy: a ``policy.Policy``.
        source_length: \\|x\\|, end of sentence included.
    """
    width, total, reached = sizes.decoder_width, 0, 0
    for step, exit_index in enumerate(exits, start=1):
        block = 12 * width**2 + 4 * sizes.ffn_width * width + 4 * step * width + 4 * source_length * width
        total += exit_index * block
        if not policy.one_depth:
            total += (sizes.num_exits - exit_index) * 4 * width**2
        if exit_index > reached:
            total += (exit_index - reached) * 4 * source_length * width * sizes.encoder_width
            reached = exit_index
        total += policy.decision_flops(sizes, exit_index, step)
        if not policy.reads_prediction:
            total += 2 * sizes.vocabulary * width
    return total


class _FullDepth:
    one_depth, reads_prediction = True, False

    @staticmethod
    def decision_flops(sizes, exit_index: int, step: int) -> int:
        return 0


def full_depth_flops(sizes: DecoderSizes, length: int, source_length: int) -> int:
    """FLOPs of decoding *length* tokens of one sentence through all blocks."""
    return sentence_flops(sizes, _FullDepth, [sizes.num_exits] * length, source_length)

"""What decoding costs: FLOPs per output token (appendix B), decoder only."""

from dataclasses import dataclass
from typing import Sequence


# These run the output classifier behind every block they reach, the last one's prediction included.
CLASSIFIER_POLICIES = ("confidence", "entropy", "margin", "patience")


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


def prediction_flops(sizes: DecoderSizes, policy: str, exit_index: int, step: int) -> int:
    """FP: what deciding on the exit of one token costs.

    Args:
        policy: the name of the exit policy.
        exit_index: q(t), the exit taken.
        step: t, from 1.
    """
    width = sizes.decoder_width
    if policy in CLASSIFIER_POLICIES:
        return 2 * exit_index * sizes.vocabulary * width
    if policy == "sequence":
        return 2 * sizes.num_exits * width if step == 1 else 0
    if policy == "multinomial":
        return 2 * sizes.num_exits * width
    if policy == "geometric":
        return 2 * width * exit_index
    if policy == "saturation":  # a dot product and a norm behind each block; the paper does not have this policy
        return 4 * width * exit_index
    return 0


def sentence_flops(sizes: DecoderSizes, policy: str, exits: Sequence[int], source_length: int) -> int:
    """FLOPs of decoding one sentence whose tokens left at *exits*.

    A block's first call in the sentence builds its cross-attention keys and values. A policy of one depth
    (``full``, ``fixed``) skips nothing, so its tokens pay for no copied states.

    Args:
        policy: the name of the exit policy.
        source_length: \\|x\\|, end of sentence included.
    """
    width, total, reached = sizes.decoder_width, 0, 0
    for step, exit_index in enumerate(exits, start=1):
        block = 12 * width**2 + 4 * sizes.ffn_width * width + 4 * step * width + 4 * source_length * width
        total += exit_index * block
        if policy not in ("full", "fixed"):
            total += (sizes.num_exits - exit_index) * 4 * width**2
        if exit_index > reached:
            total += (exit_index - reached) * 4 * source_length * width * sizes.encoder_width
            reached = exit_index
        total += prediction_flops(sizes, policy, exit_index, step)
        if policy not in CLASSIFIER_POLICIES:
            total += 2 * sizes.vocabulary * width
    return total


def full_depth_flops(sizes: DecoderSizes, length: int, source_length: int) -> int:
    """FLOPs of decoding *length* tokens of one sentence through all blocks."""
    return sentence_flops(sizes, "full", [sizes.num_exits] * length, source_length)

"""Appendix B's cost, one addition at a time."""

from typing import Sequence

READ_THE_PREDICTION = ("confidence", "entropy", "margin", "patience")


def slow_sentence_flops(
    num_exits: int,
    vocabulary: int,
    decoder_width: int,
    encoder_width: int,
    ffn_width: int,
    policy: str,
    exits: Sequence[int],
    source_length: int,
) -> int:
    """FLOPs of the decoder for one sentence: a walk through its tokens and, for each, through the blocks."""
    called, flops = set(), 0
    for t in range(1, len(exits) + 1):
        exit_index = exits[t - 1]
        for n in range(1, num_exits + 1):
            if n <= exit_index:
                flops += 12 * decoder_width * decoder_width
                flops += 4 * ffn_width * decoder_width
                flops += 4 * t * decoder_width
                flops += 4 * source_length * decoder_width
                if n not in called:
                    called.add(n)
                    flops += 4 * source_length * decoder_width * encoder_width
            elif policy not in ("full", "fixed"):
                flops += 4 * decoder_width * decoder_width
        if policy in READ_THE_PREDICTION:  # every exit on the way predicts, the last of them the token itself
            flops += exit_index * 2 * vocabulary * decoder_width
        else:
            flops += 2 * vocabulary * decoder_width
        if policy == "multinomial" or (policy == "sequence" and t == 1):
            flops += 2 * num_exits * decoder_width
        if policy == "geometric":
            flops += exit_index * 2 * decoder_width
        if policy == "saturation":  # not in the paper: a dot product and a norm behind each block
            flops += exit_index * (2 * decoder_width + 2 * decoder_width)
    return flops

"""All exit policies, each in one entry: everything else that names them is made from these.

The task's options and their help, ``policy:value`` of the commands, the README's table, the cost model, and what runs natively
follow from an entry. ``CONTRIBUTING.md`` says how to add one.
"""

from typing import Dict

from depth_adaptive_fairseq.exits import known_exits, statistics
from depth_adaptive_fairseq.exits.policy import Comparison, Option, Policy

THRESHOLDS = Option(
    "thresholds", str, "tau_n; a token leaves at the first exit n whose largest probability, or stopping probability, exceeds it; one "
    "number for all exits, or N-1 numbers with commas, each from 0 to 1", "one number from 0 to 1, or one for each exit but the last",
    0, 1, default="0.5",
)  # fmt: skip


# FP of appendix B, and of policies that the paper does not have in its terms.


def _nothing(sizes, exit_index: int, step: int) -> int:
    return 0


def _output_classifiers(sizes, exit_index: int, step: int) -> int:
    return 2 * exit_index * sizes.vocabulary * sizes.decoder_width


def _one_for_the_sentence(sizes, exit_index: int, step: int) -> int:
    return 2 * sizes.num_exits * sizes.decoder_width if step == 1 else 0


def _one_for_the_token(sizes, exit_index: int, step: int) -> int:
    return 2 * sizes.num_exits * sizes.decoder_width


def _one_behind_each_block(sizes, exit_index: int, step: int) -> int:
    return 2 * sizes.decoder_width * exit_index


def _cosines(sizes, exit_index: int, step: int) -> int:
    return 4 * sizes.decoder_width * exit_index  # a dot product and a norm behind each block


POLICIES: Dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy("full", "all blocks run", _nothing, known_exits=known_exits.last_exit, one_depth=True),
        Policy(
            "fixed",
            "every token leaves at the same exit",
            _nothing,
            known_exits=known_exits.given_exit,
            one_depth=True,
            option=Option(
                "at", int, "the exit of all tokens, from 1 to the number of decoder blocks",
                "a whole number from 1 to {num_exits}, the model's exits", 1, None,
            ),  # fmt: skip
        ),
        Policy(
            "uniform",
            "an exit is drawn for each token",
            _nothing,
            known_exits=known_exits.drawn_exits,
            option=Option("seed", int, "the seed of the drawn exits", "a whole number", -(2**63), 2**63 - 1, default=1),
        ),
        Policy(  # section 3, confidence thresholding
            "confidence",
            "the largest probability exceeds a threshold",
            _output_classifiers,
            statistic=statistics.LARGEST_PROBABILITY,
            option=THRESHOLDS,
        ),
        Policy(  # Eq. 8
            "sequence",
            "the halting classifier's exit for the sentence",
            _one_for_the_sentence,
            known_exits=known_exits.predicted_exits,
            halting="sequence",
        ),
        Policy(  # Eq. 11
            "multinomial",
            "the halting classifier's exit for the token, told behind block 1",
            _one_for_the_token,
            statistic=statistics.PREDICTED_EXIT,
            comparison=Comparison.AT_MOST,
            thresholds=lambda value, num_exits: range(1, num_exits),
            halting="multinomial",
        ),
        Policy(  # Eqs. 12 and 13
            "geometric",
            "the halting classifier's stopping probability exceeds a threshold",
            _one_behind_each_block,
            statistic=statistics.STOPPING_PROBABILITY,
            option=THRESHOLDS,
            halting="geometric",
        ),
        Policy(  # DeeBERT, arXiv 2004.12993, section 3
            "entropy",
            "the prediction's entropy is below a threshold",
            _output_classifiers,
            statistic=statistics.ENTROPY,
            comparison=Comparison.BELOW,
            option=Option(
                "entropy", float, "a token leaves when the entropy of an exit's prediction is below this, in nats",
                "a number of nats, 0 or more", 0, float("inf"),
            ),  # fmt: skip
        ),
        Policy(  # CALM, arXiv 2207.07061, section 3.4
            "margin",
            "the best minus the second-best probability exceeds a threshold",
            _output_classifiers,
            statistic=statistics.MARGIN,
            option=Option(
                "margin", float, "a token leaves when the best minus the second-best probability exceeds this, 0 to 1",
                "a number from 0 to 1", 0, 1,
            ),  # fmt: skip
        ),
        Policy(  # CALM, arXiv 2207.07061, section 3.4
            "saturation",
            "the cosine of a block's input and output exceeds a threshold",
            _cosines,
            statistic=statistics.COSINE,
            option=Option(
                "saturation", float, "a token leaves at exit n >= 2 when the cosine of its states behind blocks n and n-1 exceeds "
                "this, -1 to 1", "a cosine, a number from -1 to 1", -1, 1,
            ),  # fmt: skip
        ),
        Policy(  # PABEE, arXiv 2006.04152
            "patience",
            "several exits in a row predict the same token",
            _output_classifiers,
            statistic=statistics.AGREEMENT,
            comparison=Comparison.AT_LEAST,
            option=Option(
                "patience", int, "a token leaves when this many exits in a row predict the same token, 1 or more",
                "a whole number of exits, from 1 to 2^63 - 1", 1, 2**63 - 1,
            ),  # fmt: skip
        ),
    )
}
# auto: the model's halting classifier if it has one, else full.
EXIT_POLICIES = ("auto", *POLICIES)
OPTIONS: Dict[str, Option] = {policy.option.name: policy.option for policy in POLICIES.values() if policy.option is not None}

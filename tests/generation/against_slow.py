"""Running one case through the generator and through the slow search."""

from dataclasses import replace
from functools import lru_cache
from typing import Callable, Dict, List, Sequence, Type

import numpy as np
import torch

from depth_adaptive_fairseq.exits.known_exits import SourceBatch, drawn_exits
from depth_adaptive_fairseq.exits.policy import ExitRule
from depth_adaptive_fairseq.exits.registry import POLICIES
from tests.generation.strategies import Case
from tests.models_for_tests import (
    EOS,
    PAD,
    UNK,
    make_generator,
    make_model,
    make_prefixes,
    make_sample,
)
from tests.reference.comparison import Comparison
from tests.reference.slow_decoder import SlowDecoder
from tests.reference.slow_policies import (
    SlowConfidence,
    SlowEntropy,
    SlowFixed,
    SlowFull,
    SlowGeometric,
    SlowGiven,
    SlowMargin,
    SlowMultinomial,
    SlowPatience,
    SlowPolicy,
    SlowSaturation,
    SlowSequence,
    SlowThreshold,
)
from tests.reference.slow_search import SlowResult, SlowSearch


def drawn_exit(num_exits: int, seed: int, source: Sequence[int], prefix: Sequence[int]) -> int:
    """The exit that ``uniform`` draws for the token after *prefix*, decoder's start token included."""
    exits = drawn_exits(ExitRule(POLICIES["uniform"], num_exits, seed), SourceBatch(np.array([list(source)]), PAD))
    return int(exits(np.array([list(prefix)]), np.array([0]))[0])


# The slow counterparts of policies that take thresholds, and the options that hold those.
THRESHOLDS = {
    "confidence": (SlowConfidence, "exit_thresholds"),
    "geometric": (SlowGeometric, "exit_thresholds"),
    "entropy": (SlowEntropy, "exit_entropy"),
    "margin": (SlowMargin, "exit_margin"),
    "saturation": (SlowSaturation, "exit_saturation"),
}
# Those of the others, from the generator's options.
OTHERS: Dict[str, Callable[[Dict], SlowPolicy]] = {
    "full": lambda exits: SlowFull(),
    "none": lambda exits: SlowFull(),  # auto without a halting classifier
    "fixed": lambda exits: SlowFixed(exits["exit_at"]),
    "patience": lambda exits: SlowPatience(exits["exit_patience"]),
    "sequence": lambda exits: SlowSequence(),
    "multinomial": lambda exits: SlowMultinomial(),
}


def slow_policy(exits: Dict, model, source: Sequence[int]) -> SlowPolicy:
    """The slow counterpart of the generator's options; ``uniform``'s draws are taken from the real policy.

    Args:
        model: any member of the ensemble; only its sizes and its kind of halting classifier matter.
    """
    num_exits = len(model.decoder.layers)
    name = exits["exit_policy"]
    if name == "auto":
        name = model.decoder.cfg.halting
    if name in THRESHOLDS:
        policy, option = THRESHOLDS[name]
        thresholds = exits.get(option, 0.5)  # auto has the option's default
        return policy(thresholds if isinstance(thresholds, list) else [thresholds] * (num_exits - 1))
    if name in OTHERS:
        return OTHERS[name](exits)
    assert name == "uniform", name
    draw = lru_cache(maxsize=None)(lambda prefix: drawn_exit(num_exits, exits["exit_seed"], source, prefix))
    return SlowGiven(lambda prefix: draw(tuple(prefix)))


class _Observer(SlowPolicy):
    """Runs all blocks and notes the statistic behind each but the last, as far as *policy* has it."""

    def __init__(self, policy: SlowThreshold):
        super().__init__()
        self.policy = policy
        self.seen = []  # (exit, statistic)

    def leaves(self, exit_index, position):
        if exit_index >= self.policy.first_exit:
            statistic = position.mean(lambda member: self.policy.statistic(exit_index, position, member))
            self.seen.append((exit_index, statistic))
        return False


@torch.no_grad()
def with_thresholds(case: Case, models) -> Case:
    """Turn a case's quantiles into thresholds between statistics that the models really have."""
    if "quantiles" not in case.exits:
        return case
    exits = {name: value for name, value in case.exits.items() if name != "quantiles"}
    policy, option = THRESHOLDS[exits["exit_policy"]]
    observer = _Observer(policy([]))
    for source in case.sources:
        decoder, tokens = SlowDecoder(models, source, observer), [EOS]
        for step in range(4):
            prediction = decoder.predict(tokens, [decoder.num_exits] * step)
            tokens.append(int(prediction.log_probabilities.argmax()))
    quantiles = case.exits["quantiles"]
    thresholds = []
    for index, quantile in enumerate(quantiles, start=1):
        values = sorted(value for exit_index, value in observer.seen if len(quantiles) == 1 or exit_index == index)
        threshold = _widest_gap(values, around=quantile)
        thresholds.append(threshold if option == "exit_entropy" else min(1.0, threshold))
    return replace(case, exits={**exits, option: thresholds[0] if len(quantiles) == 1 else thresholds})


def _widest_gap(values: List[float], around: float) -> float:
    """The middle of the widest gap between neighbours among the *values* (sorted) near a quantile."""
    width = len(values) // 4 + 1
    place = int(around * (len(values) - 1))
    near = values[max(0, place - width) : place + width + 1]
    gap, below = max((above - below, below) for below, above in zip(near, near[1:]))
    return below + max(gap / 2, 0.001)


def decode(case: Case, models) -> List[List[dict]]:
    """The generator's n-best lists."""
    generator = make_generator(models, **case.exits, **case.search)
    forced = {} if case.prefixes is None else {"prefix_tokens": make_prefixes(case.prefixes)}
    return generator.generate(models, make_sample(case.sources, case.padding), **forced)


def decode_slowly(case: Case, models, sentence: int, decoder_class: Type[SlowDecoder] = SlowDecoder) -> SlowResult:
    """The slow search's n-best list of one sentence of the batch."""
    source, search = case.sources[sentence], case.search
    slow = SlowSearch(
        pad=PAD,
        eos=EOS,
        unk=UNK,
        beam=search["beam"],
        max_len=search["max_len_b"],
        min_len=search["min_len"],
        lenpen=search["lenpen"],
        unkpen=search["unkpen"],
        normalize=not search["unnormalized"],
        prefix=None if case.prefixes is None else make_prefixes(case.prefixes)[sentence].tolist(),
        no_repeat_ngram_size=search.get("no_repeat_ngram_size", 0),
    )
    policy = slow_policy(case.exits, models[0], source)
    with torch.no_grad():
        return slow.run(decoder_class(models, source, policy, search["temperature"]))


def compare(case: Case, comparison: Comparison, decoder_class: Type[SlowDecoder] = SlowDecoder) -> None:
    """Compare all sentences of *case*.

    Raises:
        AssertionError: one of them differs.
    """
    models = [make_model(options) for options in case.models]
    case = with_thresholds(case, models)
    for sentence, found in enumerate(decode(case, models)):
        comparison.add(found, decode_slowly(case, models, sentence, decoder_class))

"""Running one case through the generator and through the slow search."""

from dataclasses import replace
from functools import lru_cache
from typing import Dict, List, Sequence, Type

import torch

from depth_adaptive_fairseq.generation.exit_policies import SourceBatch, UniformExit
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
from tests.reference.slow_decoder import SlowConfidence, SlowDecoder, SlowFixed, SlowFull, SlowGiven, SlowPolicy
from tests.reference.slow_search import SlowResult, SlowSearch


def drawn_exit(num_exits: int, seed: int, source: Sequence[int], prefix: Sequence[int]) -> int:
    """The exit that ``uniform`` draws for the token after *prefix*, decoder's start token included."""
    policy = UniformExit(num_exits, seed)
    kept = policy.start(SourceBatch(torch.tensor([list(source)]), PAD))
    leave = policy.begin_step(torch.tensor([list(prefix)]), kept)
    [exit_index] = [n for n in range(1, num_exits + 1) if bool(leave(n, torch.tensor([0]), None)[0])]
    return exit_index


def slow_policy(exits: Dict, num_exits: int, source: Sequence[int]) -> SlowPolicy:
    """The slow counterpart of the generator's options; ``uniform``'s draws are taken from the real policy."""
    name = exits["exit_policy"]
    if name == "full":
        return SlowFull()
    if name == "fixed":
        return SlowFixed(exits["exit_at"])
    if name == "confidence":
        thresholds = exits["exit_thresholds"]
        return SlowConfidence(thresholds if isinstance(thresholds, list) else [thresholds] * (num_exits - 1))
    draw = lru_cache(maxsize=None)(lambda prefix: drawn_exit(num_exits, exits["exit_seed"], source, prefix))
    return SlowGiven(lambda prefix: draw(tuple(prefix)))


class _Observer(SlowPolicy):
    """Runs all blocks and notes the confidence behind each but the last."""

    def __init__(self):
        super().__init__()
        self.seen = []  # (exit, confidence)

    def leaves(self, exit_index, confidence, prefix):
        self.seen.append((exit_index, confidence()))
        return False


@torch.no_grad()
def with_thresholds(case: Case, models) -> Case:
    """Turn the quantiles of a ``confidence`` case into thresholds between confidences that the models really have."""
    if "quantiles" not in case.exits:
        return case
    policy = _Observer()
    for source in case.sources:
        decoder, tokens = SlowDecoder(models, source, policy), [EOS]
        for step in range(4):
            prediction = decoder.predict(tokens, [decoder.num_exits] * step)
            tokens.append(int(prediction.log_probabilities.argmax()))
    quantiles = case.exits["quantiles"]
    thresholds = []
    for index, quantile in enumerate(quantiles, start=1):
        values = sorted(value for exit_index, value in policy.seen if len(quantiles) == 1 or exit_index == index)
        thresholds.append(_widest_gap(values, around=quantile))
    thresholds = thresholds[0] if len(quantiles) == 1 else thresholds
    return replace(case, exits={"exit_policy": "confidence", "exit_thresholds": thresholds})


def _widest_gap(values: List[float], around: float) -> float:
    """The middle of the widest gap between neighbours among the *values* (sorted) near a quantile."""
    width = len(values) // 4 + 1
    place = int(around * (len(values) - 1))
    near = values[max(0, place - width) : place + width + 1]
    gap, below = max((above - below, below) for below, above in zip(near, near[1:]))
    return min(1.0, below + max(gap / 2, 0.001))


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
    )
    policy = slow_policy(case.exits, len(models[0].decoder.layers), source)
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

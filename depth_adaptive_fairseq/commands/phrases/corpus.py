"""Drawing sentences into splits that have no source sentence in common."""

from . import clauses, facts, people
from .pair import Draw, Pair

PATTERNS = (*clauses.PATTERNS, *facts.PATTERNS, *people.PATTERNS)
# a pattern with few sentences runs dry; the others then fill up, until hardly anything new comes
MOST_REPETITIONS = 10_000


class TooManySentences(Exception):
    """More different sentences were asked for than the grammar gives."""


def draw_pair(draw: Draw) -> Pair:
    return draw.one(*PATTERNS)(draw)


def generate(seed: int, sizes: dict[str, int]) -> dict[str, list[Pair]]:
    """Pairs for each split, in the order of `sizes`, no German sentence twice.

    A split does not depend on the sizes of those after it.
    """
    draw, seen = Draw(seed), set()
    splits: dict[str, list[Pair]] = {}
    for split, size in sizes.items():
        pairs = splits[split] = []
        repetitions = 0
        while len(pairs) < size:
            pair = draw_pair(draw)
            if pair.de in seen:
                repetitions += 1
                if repetitions > MOST_REPETITIONS + size:
                    raise TooManySentences(f"the grammar has hardly more than {len(seen)} different sentences")
                continue
            seen.add(pair.de)
            pairs.append(pair)
    return splits

"""Every exit policy for one token, one number at a time, from its definition.

Probabilities are of the plain softmax of float32 logits, before temperature. Of an ensemble, statistics are averaged over
the members; where a token or an exit is chosen, probabilities are.
"""

import math
from typing import Callable, List, Sequence

from tests.reference.scalar_equations import dot, first_argmax, mean_state


class SlowPosition:
    """The position that is being predicted, as a policy sees it: what the blocks so far have made of it.

    Attributes:
        members: the models of the ensemble, on this source sentence.
        prefix: the tokens up to and including this position's, decoder's start token included.
    """

    def __init__(self, members, prefix: Sequence[int]):
        self.members = members
        self.prefix = prefix
        self._states: List[list] = [[] for _ in members]  # of each member, h^1 and so on

    def add_block(self, states) -> None:
        """Note the output of one more block, of each member."""
        for known, state in zip(self._states, states):
            known.append(state)

    def state(self, exit_index: int, member: int) -> List[float]:
        """h^n, the raw output of block *exit_index*."""
        return self._states[member][exit_index - 1].tolist()

    def logits(self, exit_index: int, member: int):
        """The logits of exit *exit_index*, ``(vocabulary,)``."""
        return self.members[member].logits(exit_index, self._states[member][exit_index - 1])

    def probabilities(self, exit_index: int, member: int) -> List[float]:
        """What exit *exit_index* predicts."""
        return softmax(self.logits(exit_index, member).float().tolist())

    def halting(self, member: int):
        """The halting classifier, of which only the weights are used."""
        return self.members[member].decoder.halting

    def mean(self, of_member: Callable[[int], float]) -> float:
        """The average over the ensemble's members of a number that each of them has."""
        total = 0.0
        for member in range(len(self.members)):
            total += of_member(member)
        return total / len(self.members)


class SlowPolicy:
    """When a token leaves. ``margin`` is the closest call so far: how far any decision was from being another one."""

    def __init__(self):
        self.margin = math.inf

    def leaves(self, exit_index: int, position: SlowPosition) -> bool:
        """Whether the token predicted at *position* leaves at exit *exit_index* < N, having got there."""
        raise NotImplementedError

    def most_probable(self, probabilities: Sequence[float]) -> int:
        """The number, from 1, of the first of the highest *probabilities*."""
        second, best = sorted(probabilities)[-2:]
        self.margin = min(self.margin, best - second)
        return first_argmax(probabilities)


class SlowFull(SlowPolicy):
    """Never before the last exit."""

    def leaves(self, exit_index, position):
        return False


class SlowFixed(SlowPolicy):
    """Always at the same exit."""

    def __init__(self, exit_at: int):
        super().__init__()
        self.exit_at = exit_at

    def leaves(self, exit_index, position):
        return exit_index == self.exit_at


class SlowGiven(SlowPolicy):
    """At the exit that a function of the prefix names: to replay exits drawn elsewhere."""

    def __init__(self, exit_of: Callable[[Sequence[int]], int]):
        super().__init__()
        self.exit_of = exit_of

    def leaves(self, exit_index, position):
        return exit_index == self.exit_of(position.prefix)


class SlowThreshold(SlowPolicy):
    """At the first exit n < N where a statistic exceeds tau_n.

    Attributes:
        first_exit: the first exit that has the statistic.
    """

    first_exit = 1

    def __init__(self, thresholds: Sequence[float]):
        super().__init__()
        self.thresholds = thresholds

    def statistic(self, exit_index: int, position: SlowPosition, member: int) -> float:
        """One member's number."""
        raise NotImplementedError

    def excess(self, statistic: float, threshold: float) -> float:
        """How far the statistic is on the side where a token leaves."""
        return statistic - threshold

    def leaves(self, exit_index, position):
        if exit_index < self.first_exit:
            return False
        statistic = position.mean(lambda member: self.statistic(exit_index, position, member))
        excess = self.excess(statistic, self.thresholds[exit_index - 1])
        self.margin = min(self.margin, abs(excess))
        return excess > 0


class SlowConfidence(SlowThreshold):
    """The largest probability."""

    def statistic(self, exit_index, position, member):
        return max(position.probabilities(exit_index, member))


class SlowEntropy(SlowThreshold):
    """The entropy in nats, which has to be below the threshold."""

    def statistic(self, exit_index, position, member):
        entropy = 0.0
        for probability in position.probabilities(exit_index, member):
            if probability > 0:
                entropy -= probability * math.log(probability)
        return entropy

    def excess(self, statistic, threshold):
        return threshold - statistic


class SlowMargin(SlowThreshold):
    """The best minus the second-best probability."""

    def statistic(self, exit_index, position, member):
        second, best = sorted(position.probabilities(exit_index, member))[-2:]
        return best - second


class SlowSaturation(SlowThreshold):
    """The cosine of h^n and h^{n-1}, so from the second exit on."""

    first_exit = 2

    def statistic(self, exit_index, position, member):
        state, before = position.state(exit_index, member), position.state(exit_index - 1, member)
        return dot(state, before) / math.sqrt(dot(state, state) * dot(before, before))


class SlowGeometric(SlowThreshold):
    """chi^n, the probability of stopping behind block n (Eq. 12), by one classifier for all blocks or one for each."""

    def statistic(self, exit_index, position, member):
        layers = position.halting(member).projections
        layer = layers[0] if len(layers) == 1 else layers[exit_index - 1]
        (logit,) = linear(layer, position.state(exit_index, member))
        return 1.0 / (1.0 + math.exp(-logit))


class SlowPatience(SlowPolicy):
    """As soon as k exits in a row predict the same token."""

    def __init__(self, patience: int):
        super().__init__()
        self.patience = patience

    def leaves(self, exit_index, position):
        if exit_index < self.patience:
            return False
        predicted = set()
        for n in range(exit_index - self.patience + 1, exit_index + 1):
            probabilities = [position.probabilities(n, member) for member in range(len(position.members))]
            predicted.add(self.most_probable(averaged(probabilities)))
        return len(predicted) == 1


class SlowSequence(SlowPolicy):
    """At the most probable exit of the sentence: softmax(W s + b), s the mean encoder output (Eq. 8)."""

    def leaves(self, exit_index, position):
        distributions = []
        for number, member in enumerate(position.members):
            mean = mean_state(member.source.tolist())
            distributions.append(softmax(linear(position.halting(number).projection, mean)))
        return exit_index == self.most_probable(averaged(distributions))


class SlowMultinomial(SlowPolicy):
    """At the most probable exit of the token: softmax(W h^1 + b) (Eq. 11)."""

    def leaves(self, exit_index, position):
        distributions = []
        for member in range(len(position.members)):
            distributions.append(softmax(linear(position.halting(member).projection, position.state(1, member))))
        return exit_index == self.most_probable(averaged(distributions))


def softmax(scores: Sequence[float]) -> List[float]:
    """The softmax of a list of numbers."""
    largest = max(scores)
    exponentials = [math.exp(score - largest) for score in scores]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]


def linear(layer, values: Sequence[float]) -> List[float]:
    """W x + b, from the weights of an ``nn.Linear``."""
    return [dot(row, values) + offset for row, offset in zip(layer.weight.tolist(), layer.bias.tolist())]


def averaged(distributions: Sequence[Sequence[float]]) -> List[float]:
    """The mean of several distributions over the same things."""
    return [sum(probabilities) / len(distributions) for probabilities in zip(*distributions)]

"""The weightings w_n of aligned training (section 2.2, Table 2), as pure functions."""

from typing import Callable, Dict, List

EXIT_WEIGHTS: Dict[str, Callable[[int], float]] = {
    "uniform": lambda n: 1.0,
    "linear": lambda n: float(n),
    "sqrt": lambda n: n**0.5,
    "inverse-sqrt": lambda n: n**-0.5,
    "inverse": lambda n: 1.0 / n,
}


def normalised_exit_weights(weighting: str, num_exits: int) -> List[float]:
    """w_1 / sum(w) .. w_N / sum(w): the factors of the exits' losses in Eq. 4.

    Raises:
        KeyError: *weighting* is not a key of :data:`EXIT_WEIGHTS`.
    """
    weights = [EXIT_WEIGHTS[weighting](n) for n in range(1, num_exits + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]

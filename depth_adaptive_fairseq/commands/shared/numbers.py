"""Types of numbers for argparse, which name themselves in its errors."""

from typing import Callable, Optional


def whole_number(least: int, most: Optional[int] = None) -> Callable[[str], int]:
    """What argparse turns a word into a whole number with, from *least* to *most*."""

    def read(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError
        return number

    read.__name__ = f"number of at least {least}" if most is None else f"number from {least} to {most}"
    return read

"""The unit that everything here is made of: a piece of German and its English translation."""

from random import Random
from typing import NamedTuple


class Pair(NamedTuple):
    de: str
    en: str


class Draw(Random):
    """A seeded source of choices; only methods whose results are the same on every Python are used."""

    def one(self, *weighted):
        """One of the given (weight, thing) tuples' things."""
        point = self.random() * sum(weight for weight, _ in weighted)
        for weight, thing in weighted:
            point -= weight
            if point < 0:
                return thing
        return weighted[-1][1]

    def several(self, population, count: int) -> list:
        """`count` different elements in random order."""
        pool = list(population)
        return [pool.pop(self.randrange(len(pool))) for _ in range(count)]

    def chance(self, probability: float) -> bool:
        return self.random() < probability


def words(*parts: str) -> str:
    """Joins the parts that are not empty. A part may end in a comma, which gives way to a following mark."""
    text = " ".join(part for part in parts if part)
    for mark in ",.?!":
        text = text.replace(f", {mark}", mark).replace(f",{mark}", mark).replace(f" {mark}", mark)
    return text


def sentence(text: str, end: str = ".") -> str:
    """The finished sentence: first letter large, mark at the end."""
    return words(text[0].upper() + text[1:], end)


def finish(de: str, en: str, end: str = ".") -> Pair:
    return Pair(sentence(de, end), sentence(en, end))

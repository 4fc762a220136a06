"""A tiny corpus of German and English sentences, the same at each call."""

import random
from typing import List, Tuple

_PEOPLE = [
    ("der Mann", "the man"), ("die Frau", "the woman"), ("das Kind", "the child"), ("ein Koch", "a cook"),
    ("eine Lehrerin", "a teacher"), ("unser Nachbar", "our neighbour"),
]
_VERBS = [("kauft", "buys"), ("sieht", "sees"), ("malt", "paints"), ("sucht", "looks for"), ("trägt", "carries")]
_NUMBERS = [("zwei", "two"), ("drei", "three"), ("vier", "four"), ("zehn", "ten")]
_QUALITIES = [("rote", "red"), ("alte", "old"), ("kleine", "small"), ("schwere", "heavy"), ("schöne", "beautiful")]
_THINGS = [
    ("Äpfel", "apples"), ("Bücher", "books"), ("Stühle", "chairs"), ("Kisten", "boxes"), ("Häuser", "houses"),
    ("Taschen", "bags"), ("Bilder", "pictures"),
]
_TIMES = [("heute", "today"), ("am Montag", "on Monday"), ("im Winter", "in winter"), ("oft", "often")]


def sentence_pairs(count: int, seed: int) -> List[Tuple[str, str]]:
    """*count* tokenised pairs: somebody does something with a number of things, now and then at some time."""
    choose = random.Random(seed).choice
    pairs = []
    for _ in range(count):
        person, verb, number, quality, thing = map(choose, (_PEOPLE, _VERBS, _NUMBERS, _QUALITIES, _THINGS))
        time = choose(_TIMES)
        german, english = [person[0], verb[0]], [person[1], verb[1]]
        if choose((True, False)):  # German puts it in the middle, English at the end
            german.append(time[0])
        else:
            time = None
        if choose((True, False)):
            german.append(number[0])
            english.append(number[1])
        german += [quality[0], thing[0], "."]
        english += [quality[1], thing[1]] + ([time[1]] if time else []) + ["."]
        pairs.append((" ".join(german), " ".join(english)))
    return pairs


def hard_pairs() -> List[Tuple[str, str]]:
    """A sentence with unknown words, and one that is empty."""
    return [("der Astronaut kauft drei Quastenflosser .", "the astronaut buys three coelacanths ."), ("", "")]

"""Nouns, adjectives, and noun phrases with German cases and endings."""

from dataclasses import dataclass

from .number_words import cardinal, count
from .pair import Draw, Pair, words

# case -> gender (m, f, n, plural p) -> ending
ARTICLE = {
    "nominative": {"m": "der", "f": "die", "n": "das", "p": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "p": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "p": "den"},
}
# of ein, mein, dein, sein, unser
EIN_ENDING = {
    "nominative": {"m": "", "f": "e", "n": "", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "", "p": "e"},
    "dative": {"m": "em", "f": "er", "n": "em", "p": "en"},
}
ADJECTIVE_AFTER_ARTICLE = {
    "nominative": {"m": "e", "f": "e", "n": "e", "p": "en"},
    "accusative": {"m": "en", "f": "e", "n": "e", "p": "en"},
    "dative": {"m": "en", "f": "en", "n": "en", "p": "en"},
}
ADJECTIVE_AFTER_EIN = {
    "nominative": {"m": "er", "f": "e", "n": "es", "p": "en"},
    "accusative": {"m": "en", "f": "e", "n": "es", "p": "en"},
    "dative": {"m": "en", "f": "en", "n": "en", "p": "en"},
}
ADJECTIVE_ALONE = {"nominative": "e", "accusative": "e"}  # before a plural after a number or nothing
EIN = Pair("ein", "a")
POSSESSIVES = (Pair("mein", "my"), Pair("dein", "your"), Pair("sein", "his"), Pair("unser", "our"))


@dataclass(frozen=True)
class Noun:
    gender: str
    de: str
    de_plural: str
    en: str
    en_plural: str = ""
    kinds: str = ""  # what can be done with it; see verbs.VERBS
    de_dative: str = ""  # of weak nouns: dem Nachbarn

    @property
    def plural(self) -> Pair:
        return Pair(self.de_plural, self.en_plural or self.en + "s")

    def singular(self, case: str) -> Pair:
        return Pair(self.de_dative if case == "dative" and self.de_dative else self.de, self.en)


THINGS = (
    Noun("m", "Koffer", "Koffer", "suitcase", kinds="portable openable"),
    Noun("n", "Paket", "Pakete", "package", kinds="portable openable"),
    Noun("f", "Tasche", "Taschen", "bag", kinds="portable openable"),
    Noun("m", "Schlüssel", "Schlüssel", "key", kinds="portable"),
    Noun("n", "Buch", "Bücher", "book", kinds="portable text"),
    Noun("m", "Ball", "Bälle", "ball", kinds="portable"),
    Noun("f", "Jacke", "Jacken", "jacket", kinds="portable"),
    Noun("m", "Hut", "Hüte", "hat", kinds="portable"),
    Noun("n", "Hemd", "Hemden", "shirt", kinds="portable"),
    Noun("m", "Stuhl", "Stühle", "chair", kinds="portable"),
    Noun("n", "Fahrrad", "Fahrräder", "bicycle", kinds="portable repairable"),
    Noun("m", "Schirm", "Schirme", "umbrella", kinds="portable"),
    Noun("f", "Flasche", "Flaschen", "bottle", kinds="portable openable"),
    Noun("n", "Messer", "Messer", "knife", "knives", kinds="portable"),
    Noun("n", "Radio", "Radios", "radio", kinds="device repairable"),
    Noun("f", "Lampe", "Lampen", "lamp", kinds="device repairable"),
    Noun("m", "Computer", "Computer", "computer", kinds="device repairable"),
    Noun("m", "Fernseher", "Fernseher", "television", kinds="device repairable"),
    Noun("f", "Kamera", "Kameras", "camera", kinds="device repairable portable"),
    Noun("f", "Waschmaschine", "Waschmaschinen", "washing machine", kinds="device repairable"),
    Noun("m", "Brief", "Briefe", "letter", kinds="text sendable"),
    Noun("f", "Zeitung", "Zeitungen", "newspaper", kinds="text"),
    Noun("m", "Bericht", "Berichte", "report", kinds="text sendable"),
    Noun("n", "Formular", "Formulare", "form", kinds="text sendable"),
    Noun("f", "Postkarte", "Postkarten", "postcard", kinds="text sendable"),
    Noun("f", "Tür", "Türen", "door", kinds="openable repairable"),
    Noun("n", "Fenster", "Fenster", "window", kinds="openable repairable"),
    Noun("m", "Schrank", "Schränke", "cupboard", kinds="openable repairable"),
    Noun("f", "Küche", "Küchen", "kitchen", kinds="room"),
    Noun("n", "Zimmer", "Zimmer", "room", kinds="room"),
    Noun("m", "Keller", "Keller", "basement", kinds="room"),
    Noun("f", "Garage", "Garagen", "garage", kinds="room"),
    Noun("n", "Büro", "Büros", "office", kinds="room"),
)
PEOPLE = (
    Noun("f", "Lehrerin", "Lehrerinnen", "teacher"),
    Noun("m", "Arzt", "Ärzte", "doctor"),
    Noun("m", "Nachbar", "Nachbarn", "neighbor", de_dative="Nachbarn"),
    Noun("m", "Student", "Studenten", "student", de_dative="Studenten"),
    Noun("m", "Kellner", "Kellner", "waiter"),
    Noun("f", "Bäckerin", "Bäckerinnen", "baker"),
    Noun("m", "Mann", "Männer", "man", "men"),
    Noun("f", "Frau", "Frauen", "woman", "women"),
    Noun("n", "Mädchen", "Mädchen", "girl"),
    Noun("m", "Junge", "Jungen", "boy", de_dative="Jungen"),
    Noun("n", "Kind", "Kinder", "child", "children"),
    Noun("m", "Gast", "Gäste", "guest"),
)
RELATIVES = (
    Noun("m", "Bruder", "Brüder", "brother"),
    Noun("f", "Schwester", "Schwestern", "sister"),
    Noun("m", "Sohn", "Söhne", "son"),
    Noun("f", "Tochter", "Töchter", "daughter"),
    Noun("f", "Freundin", "Freundinnen", "friend"),
    Noun("m", "Chef", "Chefs", "boss", "bosses"),
)
SIZES = (Pair("groß", "big"), Pair("klein", "small"))
COLORS = (
    Pair("rot", "red"),
    Pair("blau", "blue"),
    Pair("grün", "green"),
    Pair("gelb", "yellow"),
    Pair("schwarz", "black"),
    Pair("weiß", "white"),
    Pair("braun", "brown"),
)
# the stem that takes endings: teure, not teuere
STATES = {
    "portable": (Pair("alt", "old"), Pair("neu", "new"), Pair("teur", "expensive"), Pair("schwer", "heavy")),
    "device": (Pair("alt", "old"), Pair("neu", "new"), Pair("kaputt", "broken"), Pair("billig", "cheap")),
    "text": (
        Pair("alt", "old"),
        Pair("neu", "new"),
        Pair("wichtig", "important"),
        Pair("kurz", "short"),
        Pair("lang", "long"),
    ),
    "openable": (Pair("alt", "old"), Pair("neu", "new"), Pair("schmal", "narrow")),
    "room": (Pair("alt", "old"), Pair("neu", "new"), Pair("groß", "big"), Pair("klein", "small")),
}
AGES = (Pair("alt", "old"), Pair("jung", "young"))


def adjectives(draw: Draw, noun: Noun) -> tuple[Pair, ...]:
    """None to two adjectives, as stems, that go with the noun, in the order that both languages share."""
    if noun in PEOPLE or noun in RELATIVES:
        return (draw.choice(AGES),) if noun in PEOPLE[:8] and draw.chance(0.25) else ()
    kind = noun.kinds.split()[0]
    state = (draw.choice(STATES[kind]),)
    if kind in ("text", "room"):
        return draw.one((5, ()), (5, state))
    color = (draw.choice(COLORS),)
    return draw.one((4, ()), (3, color), (3, state), (2, (draw.choice(SIZES), *color)), (2, state + color))


def _described(stems: tuple[Pair, ...], ending: str) -> Pair:
    return Pair(" ".join(stem.de + ending for stem in stems), " ".join(stem.en for stem in stems))


def with_article(noun: Noun, stems: tuple[Pair, ...], case: str) -> Pair:
    """den alten Koffer, the old suitcase."""
    described, named = _described(stems, ADJECTIVE_AFTER_ARTICLE[case][noun.gender]), noun.singular(case)
    return Pair(words(ARTICLE[case][noun.gender], described.de, named.de), words("the", described.en, named.en))


def with_ein(noun: Noun, stems: tuple[Pair, ...], case: str, determiner: Pair = EIN) -> Pair:
    """einen alten Koffer, an old suitcase; meinen alten Koffer, my old suitcase."""
    described, named = _described(stems, ADJECTIVE_AFTER_EIN[case][noun.gender]), noun.singular(case)
    english = words(described.en, named.en)
    article = "an" if determiner is EIN and english[0] in "aeiou" else determiner.en
    return Pair(words(determiner.de + EIN_ENDING[case][noun.gender], described.de, named.de), words(article, english))


def counted(noun: Noun, stems: tuple[Pair, ...], number: Pair) -> Pair:
    """siebenundzwanzig alte Koffer, twenty-seven old suitcases; nominative and accusative are the same."""
    described, named = _described(stems, ADJECTIVE_ALONE["accusative"]), noun.plural
    return Pair(words(number.de, described.de, named.de), words(number.en, described.en, named.en))


def some_number(draw: Draw, high: int = 99) -> Pair:
    """A number that can stand before a plural noun, mostly in words."""
    number = count(draw, 2, high)
    return Pair(str(number), str(number)) if draw.chance(0.2) else cardinal(number)


def thing(draw: Draw, kind: str = "", case: str = "accusative") -> tuple[Pair, bool]:
    """A noun phrase for a thing of that kind, and whether it is definite."""
    noun = draw.choice([noun for noun in THINGS if kind in noun.kinds.split() or not kind])
    stems = adjectives(draw, noun)
    possessive = draw.choice(POSSESSIVES)
    return draw.one(
        (5, (with_article(noun, stems, case), True)),
        (3, (with_ein(noun, stems, case), False)),
        (2, (with_ein(noun, stems, case, possessive), True)),
        (2, (counted(noun, stems, some_number(draw)), False)),
    )

"""Verbs, many of them separable, and clauses: main, question and verb-final, in four tenses and moods."""

from dataclasses import dataclass

from . import times
from .nouns import (
    PEOPLE,
    POSSESSIVES,
    RELATIVES,
    adjectives,
    thing,
    with_article,
    with_ein,
)
from .pair import Draw, Pair, words

NAMES_OF_WOMEN = "Anna Clara Emma Ida Julia Laura Lena Maria Mia Nina Paula Sara Sofia Eva Lisa Nora".split()
NAMES_OF_MEN = "Ben David Felix Jan Jonas Lukas Max Noah Paul Peter Simon Tom Emil Oskar Leo Karl".split()
NAMES = NAMES_OF_WOMEN + NAMES_OF_MEN


@dataclass(frozen=True)
class Verb:
    """A transitive verb. `kind` says which things it takes."""

    prefix: str  # '' if it is not separable
    infinitive: str  # without prefix
    du: str
    er: str
    participle: str
    en: str
    en_past: str
    kind: str

    def present(self, person: str) -> str:
        stem = self.infinitive[:-2]
        return {
            "ich": stem + "e",
            "du": self.du,
            "er": self.er,
            "wir": self.infinitive,
            "ihr": stem + ("et" if stem.endswith(("t", "d")) else "t"),
            "sie": self.infinitive,
        }[person]


VERBS = (
    Verb("ab", "holen", "holst", "holt", "abgeholt", "pick up", "picked up", "portable"),
    Verb("mit", "bringen", "bringst", "bringt", "mitgebracht", "bring along", "brought along", "portable"),
    Verb("zurück", "geben", "gibst", "gibt", "zurückgegeben", "return", "returned", "portable"),
    Verb("ein", "packen", "packst", "packt", "eingepackt", "pack", "packed", "portable"),
    Verb("weg", "werfen", "wirfst", "wirft", "weggeworfen", "throw away", "threw away", "text"),
    Verb("aus", "leihen", "leihst", "leiht", "ausgeliehen", "borrow", "borrowed", "portable"),
    Verb("", "suchen", "suchst", "sucht", "gesucht", "look for", "looked for", "portable"),
    Verb("", "finden", "findest", "findet", "gefunden", "find", "found", "portable"),
    Verb("", "kaufen", "kaufst", "kauft", "gekauft", "buy", "bought", "portable"),
    Verb("", "verkaufen", "verkaufst", "verkauft", "verkauft", "sell", "sold", "device"),
    Verb("", "bestellen", "bestellst", "bestellt", "bestellt", "order", "ordered", "device"),
    Verb("", "bezahlen", "bezahlst", "bezahlt", "bezahlt", "pay for", "paid for", "device"),
    Verb("ein", "schalten", "schaltest", "schaltet", "eingeschaltet", "turn on", "turned on", "device"),
    Verb("aus", "schalten", "schaltest", "schaltet", "ausgeschaltet", "turn off", "turned off", "device"),
    Verb("", "reparieren", "reparierst", "repariert", "repariert", "repair", "repaired", "repairable"),
    Verb("vor", "lesen", "liest", "liest", "vorgelesen", "read out", "read out", "text"),
    Verb("", "lesen", "liest", "liest", "gelesen", "read", "read", "text"),
    Verb("", "schreiben", "schreibst", "schreibt", "geschrieben", "write", "wrote", "sendable"),
    Verb("ab", "schicken", "schickst", "schickt", "abgeschickt", "send off", "sent off", "sendable"),
    Verb("", "übersetzen", "übersetzt", "übersetzt", "übersetzt", "translate", "translated", "text"),
    Verb("auf", "machen", "machst", "macht", "aufgemacht", "open", "opened", "openable"),
    Verb("zu", "machen", "machst", "macht", "zugemacht", "close", "closed", "openable"),
    Verb("auf", "räumen", "räumst", "räumt", "aufgeräumt", "clean up", "cleaned up", "room"),
    Verb("ab", "schließen", "schließt", "schließt", "abgeschlossen", "lock", "locked", "room"),
)
PERSONS = ("ich", "du", "er", "wir", "ihr", "sie")
PRONOUNS = (  # the polite Sie is left out: at a sentence's beginning it looks like the one for `they`
    ("ich", Pair("ich", "I")),
    ("du", Pair("du", "you")),
    ("er", Pair("er", "he")),
    ("er", Pair("sie", "she")),
    ("wir", Pair("wir", "we")),
    ("ihr", Pair("ihr", "you")),
    ("sie", Pair("sie", "they")),
)
AUXILIARIES = {
    "past": dict(zip(PERSONS, "habe hast hat haben habt haben".split())),
    "future": dict(zip(PERSONS, "werde wirst wird werden werdet werden".split())),
    "must": dict(zip(PERSONS, "muss musst muss müssen müsst müssen".split())),
    "can": dict(zip(PERSONS, "kann kannst kann können könnt können".split())),
    "want": dict(zip(PERSONS, "will willst will wollen wollt wollen".split())),
}
ADVERBIALS = {
    "habit": times.repeated,
    "past": times.past,
    "future": times.future,
    "must": times.future,
    "can": times.future,
    "want": times.future,
}


@dataclass(frozen=True)
class Subject:
    person: str
    text: Pair

    @property
    def third_singular(self) -> bool:
        return self.person == "er"


@dataclass(frozen=True)
class Clause:
    """Everything but the order of the words."""

    subject: Subject
    verb: Verb
    object: Pair
    adverbial: Pair
    tense: str
    negative: bool

    @property
    def finite(self) -> str:
        """The verb form that stands second in a main clause."""
        return (
            self.verb.present(self.subject.person)
            if self.tense == "habit"
            else AUXILIARIES[self.tense][self.subject.person]
        )

    @property
    def rest(self) -> str:
        """What of the verb stands at a main clause's end."""
        if self.tense == "habit":
            return self.verb.prefix
        return self.verb.participle if self.tense == "past" else self.verb.prefix + self.verb.infinitive

    @property
    def middle(self) -> str:
        return words(self.object.de, "nicht" if self.negative else "")

    @property
    def predicate(self) -> str:
        """The English verb with its object."""
        singular, verb = self.subject.third_singular, self.verb.en
        if self.tense == "past":
            form = f"did not {verb}" if self.negative else self.verb.en_past
        elif self.tense == "habit":
            first, *others = verb.split()
            form = " ".join([first + "s", *others]) if singular else verb
        elif self.tense == "future":
            form = f"will not {verb}" if self.negative else f"will {verb}"
        elif self.tense == "can":
            form = f"cannot {verb}" if self.negative else f"can {verb}"
        else:
            form = {"must": ("has to", "have to"), "want": ("wants to", "want to")}[self.tense][
                not singular
            ] + f" {verb}"
        return f"{form} {self.object.en}"

    def main(self, adverbial_first: bool) -> Pair:
        """Wir holen jeden Montag das Paket ab. Or with the adverbial first: Jeden Montag holen wir ..."""
        subject, adverbial = self.subject.text, self.adverbial
        if adverbial_first:
            # the comma of a full date belongs to German's mid-field and stays before the verb
            german = words(adverbial.de, self.finite, subject.de, self.middle, self.rest)
            return Pair(german, words(adverbial.en + ",", subject.en, self.predicate))
        german = words(subject.de, self.finite, adverbial.de, self.middle, self.rest)
        return Pair(german, words(subject.en, self.predicate, adverbial.en))

    def verb_final(self) -> Pair:
        """..., weil wir gestern das Paket abgeholt haben."""
        final = self.verb.prefix + self.finite if self.tense == "habit" else f"{self.rest} {self.finite}"
        german = words(self.subject.text.de, self.adverbial.de, self.middle, final)
        return Pair(german, words(self.subject.text.en, self.predicate, self.adverbial.en))

    def question(self) -> Pair:
        """Hast du gestern das Paket abgeholt? Always without the negation."""
        singular, verb = self.subject.third_singular, self.verb.en
        does = "does" if singular else "do"
        helper, form = {
            "habit": (does, verb),
            "past": ("did", verb),
            "future": ("will", verb),
            "can": ("can", verb),
            "must": (does, f"have to {verb}"),
            "want": (does, f"want to {verb}"),
        }[self.tense]
        german = words(self.finite, self.subject.text.de, self.adverbial.de, self.object.de, self.rest)
        return Pair(german, words(helper, self.subject.text.en, form, self.object.en, self.adverbial.en))


def someone(draw: Draw, case: str) -> Pair:
    """Die junge Lehrerin, mein Bruder."""
    if draw.chance(0.6):
        noun = draw.choice(PEOPLE)
        return with_article(noun, adjectives(draw, noun), case)
    noun = draw.choice(RELATIVES)
    return with_ein(noun, (), case, draw.choice(POSSESSIVES))


def two_names(draw: Draw) -> Pair:
    first, second = draw.several(NAMES, 2)
    return Pair(f"{first} und {second}", f"{first} and {second}")


def subject(draw: Draw) -> Subject:
    return draw.one(
        (4, lambda: Subject(*draw.choice(PRONOUNS))),
        (2, lambda: Subject("er", Pair(*[draw.choice(NAMES)] * 2))),
        (3, lambda: Subject("er", someone(draw, "nominative"))),
        (1, lambda: Subject("sie", two_names(draw))),
        (
            1,
            lambda: Subject(
                "sie", draw.choice((Pair("die Kinder", "the children"), Pair("meine Eltern", "my parents")))
            ),
        ),
    )()


def clause(draw: Draw, tenses: str = "habit past past future must can want", of: Subject | None = None) -> Clause:
    """A random clause, of the given subject if there is one."""
    tense = draw.choice(tenses.split())
    verb = draw.choice(VERBS)
    phrase, definite = thing(draw, verb.kind)
    negative = definite and tense in ("past", "future", "can") and draw.chance(0.15)
    return Clause(of or subject(draw), verb, phrase, ADVERBIALS[tense](draw), tense, negative)

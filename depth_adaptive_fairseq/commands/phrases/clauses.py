"""Sentence patterns about what people do: word order is the hard part."""

from . import cldr
from .nouns import ARTICLE, PEOPLE, with_article
from .pair import Draw, Pair, finish
from .verbs import Subject, clause

THAT_CLAUSES = (
    Pair("ich glaube, dass", "I think that"),
    Pair("ich weiß, dass", "I know that"),
    Pair("wir hoffen, dass", "we hope that"),
    Pair("es ist schön, dass", "it is nice that"),
    Pair("er sagt, dass", "he says that"),
    Pair("ich weiß nicht, ob", "I do not know whether"),
    Pair("sie fragt, ob", "she is asking whether"),
    Pair("ich bin froh, weil", "I am happy because"),
    Pair("alle lachen, weil", "everyone is laughing because"),
)


def main_clause(draw: Draw) -> Pair:
    return finish(*clause(draw).main(adverbial_first=draw.chance(0.4)))


def verb_final_clause(draw: Draw) -> Pair:
    frame, inner = draw.choice(THAT_CLAUSES), clause(draw).verb_final()
    return finish(f"{frame.de} {inner.de}", f"{frame.en} {inner.en}")


def question(draw: Draw) -> Pair:
    return finish(*clause(draw).question(), end="?")


def relative_clause(draw: Draw) -> Pair:
    """Die Frau, die gestern das Paket abgeholt hat, wohnt in Wien."""
    noun = draw.choice(PEOPLE)
    antecedent = with_article(noun, (), "nominative")
    # as a relative pronoun the article stands alone, and `who` takes the verb of the third person
    relative = Subject("er", Pair(ARTICLE["nominative"][noun.gender], "who"))
    inner = clause(draw, "habit past past", relative).verb_final()
    place = cldr.city(draw.choice(list(cldr.CITIES)))
    verb = draw.choice((Pair("wohnt in", "lives in"), Pair("kommt aus", "comes from"), Pair("arbeitet in", "works in")))
    return finish(
        f"{antecedent.de}, {inner.de}, {verb.de} {place.de}", f"{antecedent.en} {inner.en} {verb.en} {place.en}"
    )


PATTERNS = ((10, main_clause), (8, verb_final_clause), (4, question), (4, relative_clause))

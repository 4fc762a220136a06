"""Sentence patterns about amounts: prices, measures, sums, lists, ordinals."""

from . import cldr, times
from .nouns import (
    COLORS,
    THINGS,
    adjectives,
    counted,
    some_number,
    with_article,
    with_ein,
)
from .number_words import cardinal, count, decimal, ordinal
from .pair import Draw, Pair, finish
from .verbs import NAMES_OF_MEN, NAMES_OF_WOMEN, someone

GOODS_FOR_SALE = tuple(noun for noun in THINGS if noun.kinds.startswith(("portable", "device")))
GOODS = {  # what is sold by the unit
    "mass-kilogram": (
        Pair("Äpfel", "apples"),
        Pair("Kartoffeln", "potatoes"),
        Pair("Tomaten", "tomatoes"),
        Pair("Reis", "rice"),
        Pair("Käse", "cheese"),
        Pair("Zucker", "sugar"),
        Pair("Mehl", "flour"),
    ),
    "volume-liter": (
        Pair("Milch", "milk"),
        Pair("Wasser", "water"),
        Pair("Apfelsaft", "apple juice"),
        Pair("Öl", "oil"),
    ),
}
DRINKS_AND_FOOD = (
    Pair("Tee", "tea"),
    Pair("Kaffee", "coffee"),
    Pair("Wasser", "water"),
    Pair("Suppe", "soup"),
    Pair("Brot", "bread"),
    Pair("Salat", "salad"),
    Pair("Kuchen", "cake"),
    Pair("Obst", "fruit"),
)
PRICED = (Pair("die Fahrkarte", "the ticket"), Pair("das Zimmer", "the room"), Pair("die Reise", "the trip"))


def money(draw: Draw) -> Pair:
    """1.234,50 €; siebenundzwanzig Euro; drei Euro und fünfzig Cent."""
    form = draw.one((3, "digits"), (5, "words"), (2, "cents"), (1, "number"))
    if form == "digits":
        return cldr.price(draw.randint(100, 250_000), draw.choice(cldr.CURRENCIES_WITH_SYMBOL))
    if form == "cents":
        euros, cents = cardinal(count(draw, 2, 99)), cardinal(count(draw, 2, 99))
        return Pair(f"{euros.de} Euro und {cents.de} Cent", f"{euros.en} euros and {cents.en} cents")
    amount = count(draw, 2, 999 if draw.chance(0.3) else 99)
    said = cardinal(amount) if form == "words" else cldr.number(amount)
    name = cldr.currency_name(amount, draw.choice(cldr.CURRENCIES))
    return Pair(f"{said.de} {name.de}", f"{said.en} {name.en}")


def price(draw: Draw) -> Pair:
    """Der rote Koffer kostet siebenundzwanzig Euro."""
    noun = draw.choice(GOODS_FOR_SALE)
    what = draw.one((3, with_article(noun, adjectives(draw, noun), "nominative")), (1, draw.choice(PRICED)))
    cost, when = money(draw), times.on_date(draw)
    if draw.chance(0.3):
        return finish(f"{when.de} kostet {what.de} {cost.de}", f"{when.en}, {what.en} costs {cost.en}")
    return finish(f"{what.de} kostet {cost.de}", f"{what.en} costs {cost.en}")


def price_difference(draw: Draw) -> Pair:
    first, second = (with_article(noun, (), "nominative") for noun in draw.several(GOODS_FOR_SALE, 2))
    cost = money(draw)
    more = draw.choice((Pair("mehr", "more"), Pair("weniger", "less")))
    return finish(
        f"{first.de} kostet {cost.de} {more.de} als {second.de}",
        f"{first.en} costs {cost.en} {more.en} than {second.en}",
    )


def price_of_goods(draw: Draw) -> Pair:
    """Drei Kilogramm Äpfel kosten 4,50 €."""
    unit = draw.choice(list(GOODS))
    goods, cost = draw.choice(GOODS[unit]), money(draw)
    in_words = draw.chance(0.6)
    amount = cldr.unit(count(draw, 2, 60) if in_words else draw.randint(11, 99) / 10 + 1, unit, in_words)
    return finish(f"{amount.de} {goods.de} kosten {cost.de}", f"{amount.en} of {goods.en} cost {cost.en}")


def price_change(draw: Draw) -> Pair:
    """Der Preis ist im Mai um 12,5 % gestiegen."""
    permille = draw.randint(11, 990)
    if draw.chance(0.5):
        share = cldr.percent(permille)
    else:
        said = cardinal(2 + permille // 11)
        share = Pair(f"{said.de} Prozent", f"{said.en} percent")
    change = draw.choice((Pair("gestiegen", "rose"), Pair("gesunken", "fell")))
    when = draw.choice((times.in_year(draw), times.past(draw)))
    return finish(
        f"der Preis ist {when.de} um {share.de} {change.de}", f"the price {change.en} by {share.en} {when.en}"
    )


def measure(draw: Draw) -> Pair:
    """Das Paket wiegt siebzehn Kilogramm."""
    noun = draw.choice(GOODS_FOR_SALE)
    subject = with_article(noun, adjectives(draw, noun), "nominative")
    in_words = draw.chance(0.6)
    value = count(draw, 2, 99) if in_words else draw.randint(11, 999) / 10 + 1
    weight = cldr.unit(value, "mass-kilogram", in_words)
    return finish(f"{subject.de} wiegt {weight.de}", f"{subject.en} weighs {weight.en}")


def temperature(draw: Draw) -> Pair:
    place, degrees = cldr.city(draw.choice(list(cldr.CITIES))), count(draw, 2, 39)
    heat = cldr.unit(degrees, "temperature-celsius", draw.chance(0.7))
    day = draw.choice((Pair("heute", "today"), Pair("morgen", "tomorrow")))
    if day.de == "heute":
        return finish(f"in {place.de} sind es heute {heat.de}", f"it is {heat.en} in {place.en} today")
    return finish(f"in {place.de} werden es morgen {heat.de}", f"it will be {heat.en} in {place.en} tomorrow")


def distance(draw: Draw) -> Pair:
    """Der Weg nach Wien ist zwölf Kilometer lang."""
    place, way = (
        cldr.city(draw.choice(list(cldr.CITIES))),
        draw.choice((Pair("der Weg nach", "the way to"), Pair("die Straße nach", "the road to"))),
    )
    length = cldr.unit(count(draw, 2, 999), "length-kilometer", draw.chance(0.6))
    return finish(f"{way.de} {place.de} ist {length.de} lang", f"{way.en} {place.en} is {length.en} long")


def sum_of_numbers(draw: Draw) -> Pair:
    """Siebenundzwanzig plus vierzehn ist einundvierzig."""
    sign, operation = draw.choice(
        (
            (Pair("plus", "plus"), int.__add__),
            (Pair("minus", "minus"), int.__sub__),
            (Pair("mal", "times"), int.__mul__),
        )
    )
    first, second = draw.randint(2, 99), draw.randint(2, 99)
    first, second = max(first, second), min(first, second)
    numbers = [cardinal(number) for number in (first, second, operation(first, second))]
    return finish(
        *(
            f"{one[side]} {sign[side]} {two[side]} {'ist' if side == 0 else 'is'} {result[side]}"
            for side in (0, 1)
            for one, two, result in [numbers]
        )
    )


def average(draw: Draw) -> Pair:
    value = decimal(10 * draw.randint(1, 20) + draw.randint(1, 9))
    return finish(f"der Durchschnitt ist {value.de}", f"the average is {value.en}")


def shopping_list(draw: Draw) -> Pair:
    """Wir brauchen zwei Koffer, eine Lampe und drei alte Bücher."""
    items = []
    for noun in draw.several(GOODS_FOR_SALE, draw.randint(2, 4)):
        stems = adjectives(draw, noun) if draw.chance(0.4) else ()
        items.append(draw.one((1, with_ein(noun, stems, "accusative")), (2, counted(noun, stems, some_number(draw)))))
    all_items = cldr.listed(items)
    who = draw.choice(
        (
            Pair("wir brauchen", "we need"),
            Pair("ich brauche", "I need"),
            Pair("im Keller sehe ich", "in the basement, I see"),
        )
    )
    return finish(f"{who.de} {all_items.de}", f"{who.en} {all_items.en}")


def choice(draw: Draw) -> Pair:
    """Möchtest du Tee, Kaffee oder Wasser?"""
    items = cldr.listed(draw.several(DRINKS_AND_FOOD, draw.randint(2, 4)), "or")
    who = draw.choice(("möchtest du", "möchtet ihr"))
    return finish(f"{who} {items.de}", f"would you like {items.en}", "?")


def colors(draw: Draw) -> Pair:
    """Unsere Farben sind Rot, Blau und Grün."""
    names = cldr.listed([Pair(color.de.capitalize(), color.en) for color in draw.several(COLORS, draw.randint(2, 5))])
    whose = draw.choice((Pair("unsere", "our"), Pair("seine", "his"), Pair("meine", "my")))
    return finish(f"{whose.de} Farben sind {names.de}", f"{whose.en} colors are {names.en}")


def seat(draw: Draw) -> Pair:
    """Wir sitzen in der siebten Reihe auf Platz siebenundvierzig."""
    row, place = ordinal(draw.randint(1, 49), "en"), cardinal(draw.randint(1, 120))
    who = draw.choice(
        (Pair("wir sitzen", "we are sitting"), Pair("er sitzt", "he is sitting"), Pair("ich sitze", "I am sitting"))
    )
    return finish(
        f"{who.de} in der {row.de} Reihe auf Platz {place.de}", f"{who.en} in the {row.en} row in seat {place.en}"
    )


def birthday(draw: Draw) -> Pair:
    """Anna feiert am Samstag ihren dreißigsten Geburtstag."""
    his, names = draw.choice(((Pair("seinen", "his"), NAMES_OF_MEN), (Pair("ihren", "her"), NAMES_OF_WOMEN)))
    name, number = draw.choice(names), ordinal(draw.randint(1, 99), "en")
    when = draw.choice((times.on_weekday(draw), times.on_date(draw)))
    return finish(
        f"{name} feiert {when.de} {his.de} {number.de} Geburtstag",
        f"{name} is celebrating {his.en} {number.en} birthday {when.en}",
    )


def owner(draw: Draw) -> Pair:
    """Der rote Koffer gehört der jungen Lehrerin."""
    noun = draw.choice(GOODS_FOR_SALE)
    what, whom = with_article(noun, adjectives(draw, noun), "nominative"), someone(draw, "dative")
    return finish(f"{what.de} gehört {whom.de}", f"{what.en} belongs to {whom.en}")


PATTERNS = (
    (5, price),
    (3, price_difference),
    (3, price_of_goods),
    (2, price_change),
    (2, measure),
    (2, temperature),
    (2, distance),
    (4, sum_of_numbers),
    (1, average),
    (4, shopping_list),
    (1, choice),
    (1, colors),
    (2, seat),
    (3, birthday),
    (3, owner),
)

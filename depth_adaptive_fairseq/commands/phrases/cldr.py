"""Dates, numbers, prices, units, lists and names, from the Unicode CLDR data in Babel."""

import datetime
from functools import cache

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.lists import format_list
from babel.numbers import (
    format_currency,
    format_decimal,
    format_percent,
    get_currency_name,
)
from babel.units import format_unit

from .number_words import cardinal
from .pair import Pair

LOCALES = {"de": Locale("de"), "en": Locale("en")}
# CLDR takes a country's commonest languages; these go with the ones in COUNTRIES
LANGUAGES = "de en fr es it pl el pt sv fi da ja zh tr nl cs hu ro uk ar ru".split()
COUNTRIES = "DE AT PL FR ES IT GR PT SE NO FI DK IE JP CN IN BR CA MX EG BE HU RO AU".split()
# cities that CLDR names after the time zones
CITIES = {
    "Berlin": "Europe/Berlin", "Vienna": "Europe/Vienna", "Zurich": "Europe/Zurich", "Paris": "Europe/Paris",
    "Rome": "Europe/Rome", "London": "Europe/London", "Madrid": "Europe/Madrid", "Lisbon": "Europe/Lisbon",
    "Athens": "Europe/Athens", "Prague": "Europe/Prague", "Warsaw": "Europe/Warsaw", "Oslo": "Europe/Oslo",
    "Copenhagen": "Europe/Copenhagen", "Brussels": "Europe/Brussels", "Budapest": "Europe/Budapest",
    "Amsterdam": "Europe/Amsterdam", "Stockholm": "Europe/Stockholm",
}  # fmt: skip
CURRENCIES_WITH_SYMBOL = ("EUR", "EUR", "USD", "GBP")
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "CHF", "GBP", "SEK", "JPY")


def spaced(text: str) -> str:
    """With plain spaces for CLDR's no-break and narrow ones."""
    return " ".join(text.split())


def both(function) -> Pair:
    """What `function` gives for the German and for the English locale."""
    return Pair(*(spaced(function(locale)) for locale in LOCALES.values()))


@cache
def language(code: str) -> Pair:
    return both(lambda locale: locale.languages[code])


@cache
def country(code: str) -> Pair:
    return both(lambda locale: locale.territories[code])


@cache
def city(name: str) -> Pair:
    return both(lambda locale: locale.time_zones.get(CITIES[name], {}).get("city", name))


def weekday(number: int) -> Pair:
    """0 is Monday."""
    return both(lambda locale: locale.days["stand-alone"]["wide"][number])


def month(number: int) -> Pair:
    return both(lambda locale: locale.months["stand-alone"]["wide"][number])


def full_date(date: datetime.date) -> Pair:
    """With weekday, in the dative that follows `am`: Freitag, dem 3. Mai 2024, / Friday, May 3, 2024,."""
    german = f"{weekday(date.weekday()).de}, dem {format_date(date, 'long', locale='de')},"
    return Pair(spaced(german), spaced(format_date(date, "full", locale="en")) + ",")


def month_and_day(date: datetime.date) -> Pair:
    return both(lambda locale: format_skeleton("MMMMd", date, locale=locale))


def clock(time: datetime.time) -> Pair:
    """19:30 Uhr, 7:30 PM."""
    return Pair(f"{format_time(time, 'short', locale='de')} Uhr", spaced(format_time(time, "short", locale="en")))


def number(value) -> Pair:
    return both(lambda locale: format_decimal(value, locale=locale))


def percent(permille: int) -> Pair:
    return both(
        lambda locale: format_percent(
            permille / 1000, "#,##0.# %" if locale.language == "de" else "#,##0.#%", locale=locale
        )
    )


def price(cents: int, currency: str) -> Pair:
    """1.234,50 €, €1,234.50."""
    return both(lambda locale: format_currency(cents / 100, currency, locale=locale))


def currency_name(amount: int, currency: str) -> Pair:
    """The currency's name as it follows the amount: britische Pfund, British pounds."""

    german, english = both(lambda locale: get_currency_name(currency, count=amount, locale=locale))
    # CLDR's names are for lists; in running text an adjective in -isch is written small
    if german.split()[0].endswith(("ische", "ischer", "isches")):
        german = german[0].lower() + german[1:]
    return Pair(german, english)


def unit(value, name: str, words: bool = False) -> Pair:
    """A measure in digits or, for whole numbers, in words: 3,5 Kilogramm; siebzehn Kilogramm."""
    measure = both(lambda locale: format_unit(value, name, locale=locale))
    if not words:
        return measure
    return Pair(*(f"{said} {written.split(' ', 1)[1]}" for said, written in zip(cardinal(value), measure)))


def listed(items: list[Pair], style: str = "standard") -> Pair:
    """a, b und c; a, b, and c. The style `or` puts oder and or."""
    return Pair(*(format_list([item[side] for item in items], style, locale=code) for side, code in enumerate(LOCALES)))

"""Sentence patterns about people and their days: origins, journeys, appointments, greetings. Many are easy."""

from . import cldr, times
from .number_words import cardinal, count, ordinal, year
from .pair import Draw, Pair, finish
from .verbs import NAMES

SURNAMES = (
    "Weber Schmidt Fischer Wagner Becker Hoffmann Koch Richter Klein Wolf Neumann Braun Krüger Lange Vogel".split()
)
GREETINGS = (
    Pair("guten Morgen", "good morning"),
    Pair("guten Abend", "good evening"),
    Pair("Entschuldigung", "excuse me"),
    Pair("vielen Dank", "thank you very much"),
    Pair("herzlich willkommen", "welcome"),
    Pair("bis morgen", "see you tomorrow"),
    Pair("es tut mir leid", "I am sorry"),
    Pair("kein Problem", "no problem"),
    Pair("guten Appetit", "enjoy your meal"),
    Pair("gute Reise", "have a good trip"),
)
# name, preposition `in`, preposition `aus`: countries that take an article
COUNTRIES_WITH_ARTICLE = {"CH": ("der {}", "{}"), "NL": ("den {}n", "the {}"), "UA": ("der {}", "{}")}
PLACES = (Pair("das Museum", "the museum"), Pair("die Bibliothek", "the library"), Pair("der Laden", "the store"))
EVENTS = (
    Pair("der Kurs", "the course"),
    Pair("das Konzert", "the concert"),
    Pair("die Prüfung", "the exam"),
    Pair("der Film", "the movie"),
    Pair("die Besprechung", "the meeting"),
    Pair("das Spiel", "the game"),
)
VEHICLES = (Pair("der Zug", "the train"), Pair("der Bus", "the bus"), Pair("der Nachtzug", "the night train"))


def titled(draw: Draw) -> Pair:
    surname = draw.choice(SURNAMES)
    return draw.choice((Pair(f"Frau {surname}", f"Ms. {surname}"), Pair(f"Herr {surname}", f"Mr. {surname}")))


def country_in_dative(draw: Draw) -> Pair:
    """Spanien; der Schweiz; den Niederlanden: as it follows `in` and `aus`."""
    code = draw.choice(cldr.COUNTRIES + list(COUNTRIES_WITH_ARTICLE))
    german, english = COUNTRIES_WITH_ARTICLE.get(code, ("{}", "{}"))
    name = cldr.country(code)
    return Pair(german.format(name.de), english.format(name.en))


def city(draw: Draw) -> Pair:
    return cldr.city(draw.choice(list(cldr.CITIES)))


def greeting(draw: Draw) -> Pair:
    """Guten Morgen, Frau Weber, es ist halb acht."""
    whom = titled(draw)
    if draw.chance(0.3):
        hello = draw.choice(GREETINGS)
        return finish(f"{hello.de}, {whom.de}", f"{hello.en}, {whom.en}", "!")
    hello, time = draw.choice(GREETINGS[:3]), times.spoken_clock(draw.randint(1, 12), 5 * draw.randrange(12))
    return finish(f"{hello.de}, {whom.de}, es ist {time.de}", f"{hello.en}, {whom.en}, it is {time.en}")


def room(draw: Draw) -> Pair:
    """Herr Koch wartet in Zimmer 214."""
    who, number = titled(draw), draw.randint(100, 999)
    what = draw.choice((Pair("wartet in Zimmer", "is waiting in room"), Pair("wohnt in Zimmer", "lives in room")))
    return finish(f"{who.de} {what.de} {number}", f"{who.en} {what.en} {number}")


def phone_number(draw: Draw) -> Pair:
    digits = f"0{draw.randint(100, 999)} {draw.randint(10, 99)} {draw.randint(10, 99)} {draw.randint(10, 99)}"
    whose = draw.choice((Pair("meine", "my"), Pair("seine", "his"), Pair("unsere", "our")))
    return finish(f"{whose.de} Telefonnummer ist {digits}", f"{whose.en} phone number is {digits}")


def page(draw: Draw) -> Pair:
    number = cardinal(draw.randint(2, 999))
    what = draw.choice(
        (Pair("das Bild", "the picture"), Pair("die Antwort", "the answer"), Pair("das Gedicht", "the poem"))
    )
    return finish(f"{what.de} steht auf Seite {number.de}", f"{what.en} is on page {number.en}")


def origin(draw: Draw) -> Pair:
    """Anna kommt aus Polen, wohnt seit drei Jahren in Wien und spricht Polnisch und Deutsch."""
    name, home = draw.choice(NAMES), country_in_dative(draw)
    spoken = cldr.listed([cldr.language(code) for code in draw.several(cldr.LANGUAGES, draw.randint(1, 3))])
    if draw.chance(0.5):
        return finish(
            f"{name} kommt aus {home.de} und spricht {spoken.de}", f"{name} comes from {home.en} and speaks {spoken.en}"
        )
    years, place = cardinal(count(draw, 2, 60)), draw.choice((city, country_in_dative))(draw)
    return finish(
        f"{name} kommt aus {home.de} und wohnt seit {years.de} Jahren in {place.de}",
        f"{name} comes from {home.en} and has lived in {place.en} for {years.en} years",
    )


def age(draw: Draw) -> Pair:
    """Julia ist siebenundzwanzig Jahre alt und lernt seit drei Monaten Spanisch."""
    name, years, language = draw.choice(NAMES), cardinal(count(draw, 2, 99)), cldr.language(draw.choice(cldr.LANGUAGES))
    if draw.chance(0.5):
        return finish(f"{name} ist {years.de} Jahre alt", f"{name} is {years.en} years old")
    since = times.span(draw)
    return finish(
        f"{name} ist {years.de} Jahre alt und lernt seit {since.de} {language.de}",
        f"{name} is {years.en} years old and has been learning {language.en} for {since.en}",
    )


def birth(draw: Draw) -> Pair:
    """Emma wurde am dritten Mai neunzehnhundertneunundachtzig in Rom geboren."""
    name, place, born = draw.choice(NAMES), city(draw), year(draw.randint(1901, 2023))
    date = times.day_between(draw, times.FIRST_DAY, times.TODAY)
    day, month = ordinal(date.day, "en"), cldr.month(date.month)
    return finish(
        f"{name} wurde am {day.de} {month.de} {born.de} in {place.de} geboren",
        f"{name} was born in {place.en} on the {day.en} of {month.en}, {born.en}",
    )


def departure(draw: Draw) -> Pair:
    """Der Zug nach Wien fährt um halb acht von Gleis sieben ab. Also in a clause with the verb at its end."""
    vehicle, place, time = draw.choice(VEHICLES), city(draw), times.at_clock_time(draw)
    leaving = draw.chance(0.5)
    de_subject, en_subject = (
        f"{vehicle.de} {'nach' if leaving else 'aus'} {place.de}",
        f"{vehicle.en} {'to' if leaving else 'from'} {place.en}",
    )
    verb, prefix, english = ("fährt", "ab", "leaves") if leaving else ("kommt", "an", "arrives")
    if draw.chance(0.5):
        frame = draw.choice(
            (Pair("weißt du, ob", "do you know whether"), Pair("kannst du fragen, ob", "can you ask whether"))
        )
        return finish(
            f"{frame.de} {de_subject} {time.de} {prefix}{verb}", f"{frame.en} {en_subject} {english} {time.en}", "?"
        )
    if draw.chance(0.4):
        return finish(f"{time.de} {verb} {de_subject} {prefix}", f"{time.en}, {en_subject} {english}")
    return finish(f"{de_subject} {verb} {time.de} {prefix}", f"{en_subject} {english} {time.en}")


def event(draw: Draw) -> Pair:
    """Der Kurs beginnt am Freitag, dem 3. Mai 2024, um halb acht und dauert drei Stunden."""
    what, date, time, length = draw.choice(EVENTS), times.on_date(draw), times.at_clock_time(draw), times.duration(draw)
    form = draw.randrange(4)
    if form == 0:
        return finish(
            f"{what.de} beginnt {time.de} und dauert {length.de}", f"{what.en} begins {time.en} and lasts {length.en}"
        )
    if form == 1:
        return finish(f"{date.de} beginnt {what.de} {time.de}", f"{date.en}, {what.en} begins {time.en}")
    if form == 2:
        return finish(f"{what.de} dauert {length.de}", f"{what.en} lasts {length.en}")
    return finish(f"{what.de} beginnt {date.de} {time.de}", f"{what.en} begins {time.en} {date.en}")


def opening_hours(draw: Draw) -> Pair:
    place, days = draw.choice(PLACES), [cldr.weekday(day) for day in sorted(draw.several(range(7), 2))]
    opens, closes = (
        times.spoken_clock(draw.randint(7, 11), 15 * draw.randrange(4)),
        times.spoken_clock(draw.randint(4, 9), 15 * draw.randrange(4)),
    )
    return finish(
        f"{place.de} ist von {days[0].de} bis {days[1].de} von {opens.de} bis {closes.de} geöffnet",
        f"{place.en} is open from {days[0].en} to {days[1].en}, from {opens.en} to {closes.en}",
    )


def year_of_building(draw: Draw) -> Pair:
    place, when = draw.choice(PLACES + (Pair("die Brücke", "the bridge"),)), times.in_year(draw)
    return finish(f"{place.de} wurde {when.de} gebaut", f"{place.en} was built {when.en}")


def friends(draw: Draw) -> Pair:
    """A list of names, copied."""
    names = cldr.listed([Pair(name, name) for name in draw.several(NAMES, draw.randint(2, 4))])
    what = draw.choice(
        (
            Pair("warten am Bahnhof", "are waiting at the station"),
            Pair("spielen im Garten", "are playing in the garden"),
        )
    )
    return finish(f"{names.de} {what.de}", f"{names.en} {what.en}")


PATTERNS = (
    (2, greeting),
    (1, room),
    (1, phone_number),
    (1, page),
    (4, origin),
    (2, age),
    (3, birth),
    (5, departure),
    (5, event),
    (2, opening_hours),
    (1, year_of_building),
    (1, friends),
)

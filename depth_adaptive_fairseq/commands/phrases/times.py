"""Expressions of time: the clock in words, dates, durations, and the adverbials that a tense asks for."""

import datetime

from . import cldr
from .number_words import cardinal, count, ordinal, year
from .pair import Draw, Pair

SPOKEN_MINUTES = {
    # minute: (German, hours added in German, English, hours added in English)
    5: ("fünf nach {}", 0, "five past {}", 0),
    10: ("zehn nach {}", 0, "ten past {}", 0),
    15: ("Viertel nach {}", 0, "quarter past {}", 0),
    20: ("zwanzig nach {}", 0, "twenty past {}", 0),
    25: ("fünf vor halb {}", 1, "twenty-five past {}", 0),
    30: ("halb {}", 1, "half past {}", 0),
    35: ("fünf nach halb {}", 1, "twenty-five to {}", 1),
    40: ("zwanzig vor {}", 1, "twenty to {}", 1),
    45: ("Viertel vor {}", 1, "quarter to {}", 1),
    50: ("zehn vor {}", 1, "ten to {}", 1),
    55: ("fünf vor {}", 1, "five to {}", 1),
}
UNITS_OF_TIME = (
    Pair("Tagen", "days"),
    Pair("Wochen", "weeks"),
    Pair("Monaten", "months"),
    Pair("Jahren", "years"),
)  # dative
FIRST_DAY = datetime.date(2015, 1, 1)
TODAY = datetime.date(2024, 6, 30)  # past tenses take dates before it, futures dates after it
LAST_DAY = datetime.date(2032, 12, 31)


def spoken_clock(hour: int, minute: int) -> Pair:
    """Half past seven is halb acht; the hour is 1 to 12, the minute a multiple of 5."""
    if minute == 0:
        return Pair(f"{'ein' if hour == 1 else cardinal(hour).de} Uhr", f"{cardinal(hour).en} o'clock")
    german, german_ahead, english, english_ahead = SPOKEN_MINUTES[minute]
    return Pair(
        german.format(cardinal((hour + german_ahead - 1) % 12 + 1).de),
        english.format(cardinal((hour + english_ahead - 1) % 12 + 1).en),
    )


def read_clock(hour: int, minute: int) -> Pair:
    """The 24-hour clock in words: siebzehn Uhr dreißig, 5:30 PM."""
    german = f"{'ein' if hour == 1 else cardinal(hour).de} Uhr"
    return Pair(f"{german} {cardinal(minute).de}" if minute else german, cldr.clock(datetime.time(hour, minute)).en)


def clock_time(draw: Draw) -> Pair:
    """A time of day in one of its forms, without preposition."""
    form = draw.one((5, "spoken"), (2, "spoken with part of the day"), (3, "digits"), (2, "read"))
    if form == "digits":
        return cldr.clock(datetime.time(draw.randint(5, 23), draw.randrange(60)))
    if form == "read":
        return read_clock(draw.randint(5, 23), draw.randrange(60))
    if form == "spoken":
        return spoken_clock(draw.randint(1, 12), 5 * draw.randrange(12))
    hours, part = draw.choice(
        (
            (range(5, 11), Pair("morgens", "in the morning")),
            (range(2, 5), Pair("nachmittags", "in the afternoon")),
            (range(6, 10), Pair("abends", "in the evening")),
        )
    )
    spoken = spoken_clock(draw.choice(hours), 5 * draw.randrange(12))
    return Pair(f"{spoken.de} {part.de}", f"{spoken.en} {part.en}")


def at_clock_time(draw: Draw) -> Pair:
    time = clock_time(draw)
    return Pair(f"um {time.de}", f"at {time.en}")


def day_between(draw: Draw, first: datetime.date, last: datetime.date) -> datetime.date:
    return first + datetime.timedelta(days=draw.randrange((last - first).days))


def on_date(draw: Draw, first: datetime.date = FIRST_DAY, last: datetime.date = LAST_DAY) -> Pair:
    """am 3. Mai, am dritten Mai, am Freitag, dem 3. Mai 2024."""
    date = day_between(draw, first, last)
    form = draw.one((2, "digits"), (3, "words"), (3, "full"))
    if form == "digits":
        written = cldr.month_and_day(date)
        return Pair(f"am {written.de}", f"on {written.en}")
    if form == "words":
        day, month = ordinal(date.day, "en"), cldr.month(date.month)
        return Pair(f"am {day.de} {month.de}", f"on the {day.en} of {month.en}")
    written = cldr.full_date(date)
    return Pair(f"am {written.de}", f"on {written.en}")


def in_year(draw: Draw) -> Pair:
    """im Jahr 1989, im Jahr neunzehnhundertneunundachtzig."""
    number = draw.randint(1701, 2029)
    written = Pair(str(number), str(number)) if draw.chance(0.4) else year(number)
    return Pair(f"im Jahr {written.de}", f"in {written.en}")


def on_weekday(draw: Draw) -> Pair:
    day = cldr.weekday(draw.randrange(7))
    return Pair(f"am {day.de}", f"on {day.en}")


def span(draw: Draw) -> Pair:
    """A number of days, weeks, months or years, in the dative: drei Tagen, three days."""
    unit = draw.choice(UNITS_OF_TIME)
    number = count(draw, 2, 99 if unit.en == "days" else 30)
    said = Pair(str(number), str(number)) if draw.chance(0.2) else cardinal(number)
    return Pair(f"{said.de} {unit.de}", f"{said.en} {unit.en}")


def span_in_past(draw: Draw) -> Pair:
    time = span(draw)
    return Pair(f"vor {time.de}", f"{time.en} ago")


def span_in_future(draw: Draw) -> Pair:
    time = span(draw)
    return Pair(f"in {time.de}", f"in {time.en}")


def past(draw: Draw) -> Pair:
    """An adverbial that goes with a past tense."""
    day, month = cldr.weekday(draw.randrange(7)), cldr.month(draw.randint(1, 12))
    fixed = (
        Pair("gestern", "yesterday"),
        Pair("vorgestern", "the day before yesterday"),
        Pair("letzte Woche", "last week"),
        Pair("gestern Abend", "yesterday evening"),
        Pair(f"letzten {day.de}", f"last {day.en}"),
        Pair(f"im {month.de}", f"in {month.en}"),
    )
    return draw.one(
        (3, lambda: draw.choice(fixed)),
        (2, lambda: span_in_past(draw)),
        (2, lambda: on_date(draw, last=TODAY)),
        (1, lambda: on_weekday(draw)),
        (1, lambda: at_clock_time(draw)),
    )()


def future(draw: Draw) -> Pair:
    """An adverbial that goes with a future tense or a modal verb."""
    day = cldr.weekday(draw.randrange(7))
    fixed = (
        Pair("morgen", "tomorrow"),
        Pair("übermorgen", "the day after tomorrow"),
        Pair("nächste Woche", "next week"),
        Pair("heute Abend", "this evening"),
        Pair("morgen früh", "tomorrow morning"),
        Pair(f"nächsten {day.de}", f"next {day.en}"),
    )
    return draw.one(
        (3, lambda: draw.choice(fixed)),
        (2, lambda: span_in_future(draw)),
        (2, lambda: on_date(draw, first=TODAY)),
        (1, lambda: on_weekday(draw)),
        (1, lambda: at_clock_time(draw)),
    )()


def repeated(draw: Draw) -> Pair:
    """An adverbial that goes with a habit."""
    day = cldr.weekday(draw.randrange(7))
    return draw.choice(
        (
            Pair("jeden Tag", "every day"),
            Pair("jede Woche", "every week"),
            Pair("jeden Abend", "every evening"),
            Pair(f"jeden {day.de}", f"every {day.en}"),
        )
    )


def duration(draw: Draw) -> Pair:
    """drei Stunden und zwanzig Minuten; eine halbe Stunde; anderthalb Stunden."""
    fixed = (
        Pair("eine halbe Stunde", "half an hour"),
        Pair("eine Viertelstunde", "a quarter of an hour"),
        Pair("eine Dreiviertelstunde", "three quarters of an hour"),
        Pair("anderthalb Stunden", "one and a half hours"),
        Pair("eine Stunde", "one hour"),
    )
    if draw.chance(0.25):
        return draw.choice(fixed)
    in_words = draw.chance(0.7)
    hours = cldr.unit(draw.randint(2, 9), "duration-hour", in_words)
    minutes = cldr.unit(count(draw, 2, 59), "duration-minute", in_words)
    return draw.one((1, hours), (1, minutes), (2, cldr.listed([hours, minutes])))

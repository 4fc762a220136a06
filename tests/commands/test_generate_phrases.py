"""The generated corpus: the same sentences everywhere, no overlap, and numbers that agree with their words."""

import os
import re
import subprocess
import sys
from datetime import date, time

import pytest

from depth_adaptive_fairseq.commands.phrases import cldr, corpus, facts, nouns, number_words, people, times, verbs
from depth_adaptive_fairseq.commands.phrases.pair import Draw, Pair, sentence

SIZES = {"valid": 150, "test": 150, "train": 3000}


@pytest.fixture(scope="module")
def splits():
    return corpus.generate(1, SIZES)


def run(*options: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "depth_adaptive_fairseq.commands.phrases.generate", *options],
        capture_output=True, text=True, encoding="utf-8", env={**os.environ, **environment},
    )  # fmt: skip


# A reader of number words that shares nothing with the generator.

GERMAN = {
    word: number
    for number, word in enumerate(
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
        "achtzehn neunzehn".split()
    )
} | dict(zip("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split(), range(20, 100, 10)))
ENGLISH = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split()
    )
} | dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10)))


def read_german(word: str) -> int:
    for unit, size in (("tausend", 1000), ("hundert", 100)):
        before, found, after = word.partition(unit)
        if found:
            return (1 if before == "ein" else read_german(before)) * size + (read_german(after) if after else 0)
    if word in GERMAN:
        return GERMAN[word]
    units, _, tens = word.partition("und")
    return (1 if units == "ein" else GERMAN[units]) + GERMAN[tens]


def read_english(text: str) -> int:
    total = group = 0
    for word in re.split(r"[ -]", text):
        if word == "thousand":
            total, group = total + 1000 * group, 0
        elif word == "hundred":
            group *= 100
        elif word != "and":
            group += ENGLISH[word]
    return total + group


def test_number_words_agree_with_the_number_in_both_languages():
    for number in (*range(2000), *range(2000, 10000, 7)):
        words = number_words.cardinal(number)
        assert (read_german(words.de), read_english(words.en)) == (number, number)


def test_ordinals():
    assert number_words.ordinal(1, "en") == ("ersten", "first")
    assert number_words.ordinal(3, "er") == ("dritter", "third")
    assert number_words.ordinal(7, "en") == ("siebten", "seventh")
    assert number_words.ordinal(16, "em") == ("sechzehntem", "sixteenth")
    assert number_words.ordinal(21, "en") == ("einundzwanzigsten", "twenty-first")
    for number in range(20, 100):
        words = number_words.ordinal(number, "en")
        assert read_german(words.de.removesuffix("sten")) == number
        last = words.en.split("-")[-1]
        stem = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine"}
        last = stem.get(last) or (last.removesuffix("ieth") + "y" if last.endswith("ieth") else last.removesuffix("th"))
        assert read_english("-".join([*words.en.split("-")[:-1], last])) == number


def test_years():
    for year in range(1701, 2030):
        words = number_words.year(year)
        assert read_german(words.de) == year
        if year < 2000:
            century, rest = words.en.split(" ", 1)
            assert ENGLISH[century] == year // 100
            assert (0 if rest == "hundred" else read_english(rest.replace("oh-", ""))) == year % 100
        else:
            assert words.en == f"twenty {number_words.cardinal(year % 100).en}" or read_english(words.en) == year


def test_decimals():
    for tenths in (tenths for tenths in range(11, 210) if tenths % 10):
        german, english = number_words.decimal(tenths)
        assert [read_german(word) for word in german.split(" Komma ")] == [tenths // 10, tenths % 10]
        assert [read_english(word) for word in english.split(" point ")] == [tenths // 10, tenths % 10]


def test_german_clock():
    assert times.spoken_clock(7, 30) == ("halb acht", "half past seven")
    assert times.spoken_clock(12, 30) == ("halb eins", "half past twelve")
    assert times.spoken_clock(1, 0) == ("ein Uhr", "one o'clock")
    assert times.spoken_clock(1, 15) == ("Viertel nach eins", "quarter past one")
    assert times.spoken_clock(6, 25) == ("fünf vor halb sieben", "twenty-five past six")
    assert times.spoken_clock(6, 35) == ("fünf nach halb sieben", "twenty-five to seven")
    assert times.spoken_clock(12, 45) == ("Viertel vor eins", "quarter to one")
    assert times.read_clock(17, 30) == ("siebzehn Uhr dreißig", "5:30 PM")
    assert times.read_clock(13, 0) == ("dreizehn Uhr", "1:00 PM")


def minutes(text: str) -> int:
    """What a German or English clock time in words says, in minutes after twelve, read by other rules than it is made."""
    steps = {
        "fünf": 5,
        "zehn": 10,
        "zwanzig": 20,
        "Viertel": 15,
        "five": 5,
        "ten": 10,
        "twenty": 20,
        "quarter": 15,
        "half": 30,
    }
    steps["twenty-five"] = 25
    *front, hour = text.replace(" Uhr", "").replace(" o'clock", "").split()
    total = 60 * (GERMAN | ENGLISH | {"ein": 1})[hour]
    if front and front[-1] == "halb":
        total, front = total - 30, front[:-1]
    if front:
        total += steps[front[0]] * (1 if front[1] in ("nach", "past") else -1)
    return total % 720


def test_clock_words_say_the_same_time_in_both_languages():
    for hour in range(1, 13):
        for minute in range(0, 60, 5):
            said = times.spoken_clock(hour, minute)
            assert minutes(said.de) == minutes(said.en) == (60 * hour + minute) % 720


def test_cldr_forms():
    assert cldr.full_date(date(2024, 5, 3)) == ("Freitag, dem 3. Mai 2024,", "Friday, May 3, 2024,")
    assert cldr.month_and_day(date(2024, 5, 3)) == ("3. Mai", "May 3")
    assert cldr.clock(time(19, 30)) == ("19:30 Uhr", "7:30 PM")
    assert cldr.price(123450, "EUR") == ("1.234,50 €", "€1,234.50")
    assert cldr.percent(125) == ("12,5 %", "12.5%")
    assert cldr.unit(3.5, "mass-kilogram") == ("3,5 Kilogramm", "3.5 kilograms")
    assert cldr.unit(17, "volume-liter", words=True) == ("siebzehn Liter", "seventeen liters")
    assert cldr.currency_name(27, "GBP") == ("britische Pfund", "British pounds")
    assert cldr.currency_name(27, "CHF") == ("Schweizer Franken", "Swiss francs")
    assert cldr.city("Vienna") == ("Wien", "Vienna")
    assert cldr.listed([Pair("a", "a"), Pair("b", "b"), Pair("c", "c")]) == ("a, b und c", "a, b, and c")


THINGS = {noun.de: noun for noun in nouns.THINGS}
OLD, BIG = Pair("alt", "old"), Pair("groß", "big")


@pytest.mark.parametrize(
    ("noun", "case", "definite", "indefinite"),
    [
        ("Koffer", "nominative", "der alte große Koffer", "ein alter großer Koffer"),
        ("Koffer", "accusative", "den alten großen Koffer", "einen alten großen Koffer"),
        ("Koffer", "dative", "dem alten großen Koffer", "einem alten großen Koffer"),
        ("Lampe", "nominative", "die alte große Lampe", "eine alte große Lampe"),
        ("Lampe", "accusative", "die alte große Lampe", "eine alte große Lampe"),
        ("Lampe", "dative", "der alten großen Lampe", "einer alten großen Lampe"),
        ("Buch", "nominative", "das alte große Buch", "ein altes großes Buch"),
        ("Buch", "accusative", "das alte große Buch", "ein altes großes Buch"),
        ("Buch", "dative", "dem alten großen Buch", "einem alten großen Buch"),
    ],
)
def test_declension(noun, case, definite, indefinite):
    assert nouns.with_article(THINGS[noun], (OLD, BIG), case).de == definite
    assert nouns.with_ein(THINGS[noun], (OLD, BIG), case) == (indefinite, f"an old big {THINGS[noun].en}")


def test_weak_nouns_possessives_and_plurals():
    neighbor = next(noun for noun in nouns.PEOPLE if noun.de == "Nachbar")
    assert nouns.with_article(neighbor, (), "nominative") == ("der Nachbar", "the neighbor")
    assert nouns.with_article(neighbor, (), "dative") == ("dem Nachbarn", "the neighbor")
    assert nouns.with_ein(THINGS["Lampe"], (), "accusative", Pair("unser", "our")) == ("unsere Lampe", "our lamp")
    assert nouns.with_ein(THINGS["Koffer"], (), "accusative") == ("einen Koffer", "a suitcase")
    assert nouns.counted(THINGS["Buch"], (OLD,), Pair("drei", "three")) == ("drei alte Bücher", "three old books")
    assert nouns.counted(THINGS["Messer"], (), Pair("drei", "three")) == ("drei Messer", "three knives")


def clause(**changes) -> verbs.Clause:
    verb = next(verb for verb in verbs.VERBS if verb.prefix == "ab" and verb.infinitive == "holen")
    parts = {
        "subject": verbs.Subject("er", Pair("Anna", "Anna")), "verb": verb, "object": Pair("den Koffer", "the suitcase"),
        "adverbial": Pair("gestern", "yesterday"), "tense": "past", "negative": False,
    }  # fmt: skip
    return verbs.Clause(**{**parts, **changes})


def test_word_order():
    assert clause().main(False) == ("Anna hat gestern den Koffer abgeholt", "Anna picked up the suitcase yesterday")
    assert clause().main(True) == ("gestern hat Anna den Koffer abgeholt", "yesterday, Anna picked up the suitcase")
    assert clause().verb_final().de == "Anna gestern den Koffer abgeholt hat"
    assert clause(negative=True).main(False) == (
        "Anna hat gestern den Koffer nicht abgeholt", "Anna did not pick up the suitcase yesterday",
    )  # fmt: skip
    assert clause(negative=True).question() == (
        "hat Anna gestern den Koffer abgeholt",
        "did Anna pick up the suitcase yesterday",
    )
    habit = {"tense": "habit", "adverbial": Pair("jeden Montag", "every Monday")}
    assert clause(**habit).main(False) == (
        "Anna holt jeden Montag den Koffer ab",
        "Anna picks up the suitcase every Monday",
    )
    assert clause(**habit).verb_final().de == "Anna jeden Montag den Koffer abholt"
    must = {"tense": "must", "adverbial": Pair("morgen", "tomorrow")}
    assert clause(**must).verb_final() == (
        "Anna morgen den Koffer abholen muss",
        "Anna has to pick up the suitcase tomorrow",
    )
    assert clause(**must).question() == (
        "muss Anna morgen den Koffer abholen",
        "does Anna have to pick up the suitcase tomorrow",
    )
    on_date = Pair("am Freitag, dem 3. Mai 2024,", "on Friday, May 3, 2024,")
    assert (
        sentence(clause(adverbial=on_date).main(True).de)
        == "Am Freitag, dem 3. Mai 2024, hat Anna den Koffer abgeholt."
    )
    assert sentence(clause(adverbial=on_date).main(True).en) == "On Friday, May 3, 2024, Anna picked up the suitcase."
    assert sentence(clause(adverbial=on_date).main(False).en) == "Anna picked up the suitcase on Friday, May 3, 2024."


def test_conjugation():
    present = {
        f"{verb.prefix}{verb.infinitive}": [verb.present(person) for person in verbs.PERSONS] for verb in verbs.VERBS
    }
    assert present["wegwerfen"] == ["werfe", "wirfst", "wirft", "werfen", "werft", "werfen"]
    assert present["einschalten"] == ["schalte", "schaltest", "schaltet", "schalten", "schaltet", "schalten"]
    assert present["finden"] == ["finde", "findest", "findet", "finden", "findet", "finden"]
    assert present["vorlesen"] == ["lese", "liest", "liest", "lesen", "lest", "lesen"]


def test_sums_in_the_corpus_are_right():
    draw = Draw(5)
    for _ in range(300):
        german, english = facts.sum_of_numbers(draw)
        first, sign, second, _, result = german.rstrip(".").lower().split()
        value = {"plus": int.__add__, "minus": int.__sub__, "mal": int.__mul__}[sign](
            read_german(first), read_german(second)
        )
        assert read_german(result) == value
        left, right = english.rstrip(".").lower().split(" is ")
        sides = re.split(" plus | minus | times ", left)
        assert [read_english(side) for side in (*sides, right)] == [read_german(first), read_german(second), value]


def test_ages_and_prices_in_words_agree():
    draw = Draw(6)
    compared = 0
    for _ in range(600):
        for pair, pattern_de, pattern_en in (
            (people.age(draw), r"ist (\w+) Jahre alt", r"is ([\w -]+) years old"),
            (
                facts.price(draw),
                r"kostet (?:\w+ )*?(\w+) (?:Euro|US-Dollar)\.",
                r"costs ([a-z -]+) (?:euros|US dollars)\.",
            ),
        ):
            german, english = re.search(pattern_de, pair.de), re.search(pattern_en, pair.en)
            if german and english:
                compared += 1
                assert read_german(german[1]) == read_english(english[1])
    assert compared > 500


def test_digits_are_the_same_on_both_sides(splits):
    """Room and telephone numbers are copied; other digits are not compared, since dates and clocks change them."""
    copied = [pair for pair in splits["train"] if re.search(r"Zimmer \d|Telefonnummer", pair.de)]
    assert len(copied) > 20
    for pair in copied:
        assert re.findall(r"\d+", pair.de) == re.findall(r"\d+", pair.en)


def test_weekdays_of_full_dates_are_right(splits):
    months = {cldr.month(number).de: number for number in range(1, 13)}
    found = 0
    for pair in splits["train"]:
        for weekday, day, month, year in re.findall(r"[Aa]m (\w+), dem (\d+)\. (\w+) (\d{4})", pair.de):
            found += 1
            assert cldr.weekday(date(int(year), months[month], int(day)).weekday()).de == weekday
    assert found > 100


def test_splits_have_their_sizes_and_no_source_sentence_in_common(splits):
    assert {split: len(pairs) for split, pairs in splits.items()} == SIZES
    sources = [pair.de for pairs in splits.values() for pair in pairs]
    assert len(set(sources)) == len(sources)


def test_sentences_are_well_formed(splits):
    for pair in splits["train"]:
        for text in pair:
            assert re.fullmatch(r"[^\s\x00-\x1f\u00a0\u202f]+( [^\s\u00a0\u202f]+)*", text), text
            assert text[-1] in ".?!" and not text[0].islower()
            assert not re.search(r" [,.?!]|,[,.?!]|,\S*[a-z]", text), text
        # no word twice, but for years such as nineteen nineteen
        assert not re.search(r"\b(?!(?:seven|eigh|nine)teen|twenty)(\w+) \1\b", pair.en), pair
        assert pair.de.endswith("?") == pair.en.endswith("?")


def test_one_source_sentence_has_one_translation():
    """Drawn without the filter for repetitions, so that the same German comes up often."""
    draw, translations = Draw(2), {}
    for _ in range(6000):
        pair = corpus.draw_pair(draw)
        assert translations.setdefault(pair.de, pair.en) == pair.en
    assert len(translations) < 6000


def test_a_seed_decides_everything_whatever_the_hash_seed(tmp_path):
    options = ("--train", "60", "--valid", "20", "--test", "20")
    for name, seed, hash_seed in (("first", "1", "1"), ("again", "1", "2"), ("other", "2", "1")):
        result = run("--out", str(tmp_path / name), "--seed", seed, *options, PYTHONHASHSEED=hash_seed)
        assert result.returncode == 0, result.stderr
    first, again, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "again", "other")
    )
    assert set(first) == {f"{split}.{language}" for split in ("train", "valid", "test") for language in ("de", "en")}
    assert first == again
    assert all(first[name] != other[name] for name in first)
    expected = corpus.generate(1, {"valid": 20, "test": 20, "train": 60})
    for split, pairs in expected.items():
        assert first[f"{split}.de"].decode() == "".join(pair.de + "\n" for pair in pairs)
        assert first[f"{split}.en"].decode() == "".join(pair.en + "\n" for pair in pairs)


def test_training_size_does_not_change_the_other_splits(splits):
    small = corpus.generate(1, {**SIZES, "train": 10})
    assert small["valid"] == splits["valid"] and small["test"] == splits["test"]
    assert small["train"] == splits["train"][:10]


def test_draws_are_the_same_on_every_python():
    draw = Draw(1)
    assert [draw.randrange(1000) for _ in range(3)] == [137, 582, 867]
    assert [draw.randint(1, 6) for _ in range(3)] == [1, 3, 1]
    assert draw.choice("abcdef") == "d"
    assert draw.several("abcdef", 3) == ["d", "e", "f"]
    assert draw.one((1, "a"), (2, "b")) == "b"
    assert draw.chance(0.5) is True


def test_too_many_sentences(monkeypatch):
    monkeypatch.setattr(corpus, "PATTERNS", ((1, lambda draw: Pair(f"Zimmer {draw.randrange(50)}", "room")),))
    assert len(corpus.generate(1, {"train": 50})["train"]) == 50
    with pytest.raises(corpus.TooManySentences, match="50 different"):
        corpus.generate(1, {"train": 51})


@pytest.mark.parametrize(
    ("options", "message"),
    [((), "--out DIR"), (("--train", "0", "--out", "x"), "at least 1"), (("--seed", "x"), "invalid int")],
)
def test_wrong_options(options, message, tmp_path):
    result = run(*options)
    assert result.returncode == 2 and message in result.stderr


def test_fingerprint_does_not_need_an_output_folder():
    result = run("--fingerprint")
    assert result.returncode == 0 and "Babel" in result.stdout and "num2words" in result.stdout

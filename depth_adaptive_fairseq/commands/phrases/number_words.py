"""Written-out numbers, from num2words, in the forms that running text needs."""

from num2words import num2words

from .pair import Draw, Pair


def cardinal(number: int) -> Pair:
    """The number as one says it alone: einundzwanzig, zweihunderteins."""
    # num2words puts commas between thousands and hundreds, which running English does without
    return Pair(num2words(number, lang="de"), num2words(number, lang="en").replace(",", ""))


def countable(number: int) -> bool:
    """Whether the German word can stand before a plural noun as it is.

    1 needs an article that agrees (ein Buch, eine Lampe), and what ends in it (hunderteins) is better avoided.
    """
    return number % 100 != 1 and number > 1


def count(draw: Draw, low: int, high: int) -> int:
    """A number from low to high that can stand before a plural noun."""
    while not countable(number := draw.randint(low, high)):
        pass
    return number


def ordinal(number: int, ending: str) -> Pair:
    """The ordinal number below 100 with the adjective ending: ordinal(3, 'en') is dritten, third."""
    # num2words gives the form in -e
    return Pair(num2words(number, lang="de", to="ordinal")[:-1] + ending, num2words(number, lang="en", to="ordinal"))


def year(number: int) -> Pair:
    """The year as one says it: neunzehnhundertneunundachtzig, nineteen eighty-nine."""
    return Pair(num2words(number, lang="de", to="year"), num2words(number, lang="en", to="year"))


def decimal(tenths: int) -> Pair:
    """The decimal number as one says it: drei Komma fünf, three point five."""
    return Pair(num2words(tenths / 10, lang="de"), num2words(tenths / 10, lang="en"))

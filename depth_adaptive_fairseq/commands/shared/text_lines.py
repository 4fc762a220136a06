"""Text with a sentence a line. A line ends at ``\\n`` and nowhere else: sentences may hold what Unicode calls line ends."""

from pathlib import Path
from typing import List, Union


def read_lines(path: Union[str, Path]) -> List[str]:
    """The lines of the UTF-8 file *path*, without their ends.

    Raises:
        ValueError: the file is not UTF-8.
    """
    try:
        # newline="\n": Python would take a lone carriage return for an end as well, as str.splitlines() takes U+2028, U+0085 ...
        with open(path, encoding="utf-8", newline="\n") as file:
            return [line.removesuffix("\n") for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error})") from None

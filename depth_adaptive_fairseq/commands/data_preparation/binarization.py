"""Binarising with fairseq-preprocess, run as a program of its own with this interpreter."""

import subprocess
import sys
from pathlib import Path

from .errors import PreparationError
from .raw_text import read_lines
from .template import Binarization, Languages

LOG = "preprocess.log"
SPECIAL_SYMBOLS = 4  # <s>, <pad>, </s> and <unk>, which fairseq does not write into dictionary files


def binarize(
    folder: Path, pieces: Path, splits: list[str], languages: Languages, settings: Binarization, workers: int
) -> dict:
    """Writes dictionaries and binarised splits; returns the dictionaries' sizes and the unknown pieces by file."""
    command = [sys.executable, "-m", "fairseq_cli.preprocess"]
    command += ["--source-lang", languages.source, "--target-lang", languages.target]
    command += ["--trainpref", str(pieces / "train"), "--destdir", str(folder), "--workers", str(workers)]
    for kind in ("valid", "test"):
        prefixes = [str(pieces / split) for split in splits if split.startswith(kind)]
        command += [f"--{kind}pref", ",".join(prefixes)]
    command += ["--thresholdsrc", str(settings.threshold), "--thresholdtgt", str(settings.threshold)]
    if settings.joined_dictionary:
        command.append("--joined-dictionary")
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace")
    if result.returncode != 0:
        end = "\n".join(result.stdout.strip().splitlines()[-10:])
        raise PreparationError(
            f"fairseq-preprocess failed with exit status {result.returncode}. Its last lines were:\n{end}"
        )
    # the log holds paths and the time of day, which would make equal data look different
    (folder / LOG).unlink()
    dictionaries = {
        language: {line.rsplit(" ", 1)[0] for line in read_lines(folder / f"dict.{language}.txt")}
        for language in languages.pair
    }
    unknown = {}
    for split in splits:
        for language in languages.pair:
            name = f"{split}.{language}"
            known = dictionaries[language]
            unknown[name] = sum(piece not in known for line in read_lines(pieces / name) for piece in line.split())
    return {
        "dictionary": {language: len(symbols) + SPECIAL_SYMBOLS for language, symbols in dictionaries.items()},
        "unknown": unknown,
    }

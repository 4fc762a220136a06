"""Normalisation and tokenisation with sacremoses, a Python port of the Moses scripts."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import chain, islice
from pathlib import Path

from sacremoses import MosesPunctNormalizer, MosesTokenizer
from tqdm import tqdm

from .raw_text import read_lines, write_lines
from .template import Tokenization

CHUNK = 1000  # lines that a worker gets at a time
# sentencepiece's mark of a word's beginning: in the text, it would be taken for a space when the pieces are joined
WORD_MARK = "\u2581"


@cache
def tokenizer(settings: Tokenization, language: str) -> Callable[[str], str]:
    """The function that turns a sentence into tokens with single spaces between them."""
    normalizer = MosesPunctNormalizer(language) if settings.normalize_punctuation else None
    moses = MosesTokenizer(language) if settings.tokenizer == "moses" else None

    def tokenize(sentence: str) -> str:
        if normalizer:
            sentence = normalizer.normalize(sentence)
        if moses:
            sentence = moses.tokenize(
                sentence,
                aggressive_dash_splits=settings.aggressive_dash_splits,
                escape=settings.escape,
                return_str=True,
            )
        # after the tokenizer, which needs the case to tell abbreviations from ends of sentences
        if settings.lowercase:
            sentence = sentence.lower()
        return " ".join(sentence.replace(WORD_MARK, "_").split())

    return tokenize


def _tokenize_chunk(settings: Tokenization, language: str, sentences: list[str]) -> list[str]:
    tokenize = tokenizer(settings, language)
    return [tokenize(sentence) for sentence in sentences]


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def tokenize_lines(sentences: list[str], settings: Tokenization, language: str, workers: int, label: str) -> list[str]:
    """Tokenises in `workers` processes; the result does not depend on their number."""
    chunks = [sentences[start : start + CHUNK] for start in range(0, len(sentences), CHUNK)]
    arguments = [settings] * len(chunks), [language] * len(chunks), chunks
    with tqdm(total=len(sentences), desc=f"tokenise {label}", unit=" lines", disable=None, leave=False) as progress:

        def collect(results):
            for result in results:
                progress.update(len(result))
                yield result

        if workers == 1 or len(chunks) == 1:
            return list(chain.from_iterable(collect(map(_tokenize_chunk, *arguments))))
        with ProcessPoolExecutor(
            min(workers, len(chunks)), multiprocessing.get_context("spawn"), initializer=_end_with_parent
        ) as pool:
            return list(chain.from_iterable(collect(pool.map(_tokenize_chunk, *arguments))))


def tokenize(
    folder: Path,
    text: Path,
    splits: list[str],
    languages: tuple[str, str],
    settings: Tokenization,
    workers: int,
    train_lines=None,
) -> dict:
    """Writes the tokenised SPLIT.LANGUAGE files; returns the number of tokens by split and language."""
    tokens: dict[str, dict[str, int]] = {}
    for split in splits:
        for language in languages:
            name = f"{split}.{language}"
            sentences = read_lines(text / name)
            if split == "train":
                sentences = list(islice(sentences, train_lines))
            sentences = tokenize_lines(sentences, settings, language, workers, name)
            write_lines(folder / name, sentences)
            tokens.setdefault(split, {})[language] = sum(len(sentence.split()) for sentence in sentences)
    return tokens

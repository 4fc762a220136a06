"""Leaving out training pairs that are empty, too short, too long or too unequal, as Moses' clean-corpus-n does."""

from pathlib import Path

from .errors import PreparationError
from .raw_text import read_lines, write_lines
from .template import Cut


def reason_to_drop(source: str, target: str, cut: Cut) -> str | None:
    """Why the tokenised pair is left out; None if it stays."""
    lengths = len(source.split()), len(target.split())
    shorter, longer = min(lengths), max(lengths)
    if shorter < cut.min_tokens:
        return "too short"
    if longer > cut.max_tokens:
        return "too long"
    if cut.max_ratio is not None and longer > cut.max_ratio * shorter:
        return "too unequal"
    return None


def cut_training_data(folder: Path, tokenized: Path, languages: tuple[str, str], cut: Cut) -> dict:
    """Writes the training pairs that stay; returns how many, and how many went for which reason."""
    pairs = list(zip(*(read_lines(tokenized / f"train.{language}") for language in languages)))
    kept, dropped = [], {"too short": 0, "too long": 0, "too unequal": 0}
    for pair in pairs:
        reason = reason_to_drop(*pair, cut)
        if reason is None:
            kept.append(pair)
        else:
            dropped[reason] += 1
    if not kept:
        raise PreparationError(f"No training pair is left after the cut ({cut}). Loosen the template's `cut`.")
    for side, language in enumerate(languages):
        write_lines(folder / f"train.{language}", (pair[side] for pair in kept))
    tokens = {language: sum(len(pair[side].split()) for pair in kept) for side, language in enumerate(languages)}
    return {"before": len(pairs), "kept": len(kept), "dropped": dropped, "tokens": tokens}

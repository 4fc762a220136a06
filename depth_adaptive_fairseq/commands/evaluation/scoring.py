"""BLEU of a translated subset against the references that ``depth-adaptive prepare`` left in the data folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Sequence

from sacrebleu.metrics import BLEU
from sacremoses import MosesDetokenizer

from depth_adaptive_fairseq.commands.shared.text_lines import read_lines


@dataclass
class Scores:
    """Attributes:
    tokenised: BLEU over the tokens, as fairseq-generate reports it.
    detokenised: sacreBLEU of the detokenised text against the raw references.
    signature: of the latter.
    """

    tokenised: float
    detokenised: float
    signature: str


def score(data_bin: Path, subset: str, hypotheses: Mapping[int, str], sentences: int) -> Scores:
    """Score each hypothesis against the reference of its sentence; those that have none were skipped, and do not count.

    Args:
        hypotheses: tokenised text without subwords by sentence id, the place in the subset, from 0.
        sentences: how many the binarised subset has.

    Raises:
        FileNotFoundError: *data_bin* was not made by ``depth-adaptive prepare``, so it has no references.
        ValueError: it has more or fewer references than sentences.
    """
    template = json.loads((data_bin / "prepared.json").read_text(encoding="utf-8"))["template"]
    target = template["languages"]["target"]
    ids = sorted(hypotheses)
    tokens = [hypotheses[each] for each in ids]
    detokenizer = MosesDetokenizer(lang=target)
    detokenised = [detokenizer.detokenize(line.split()) for line in tokens]
    tokenised_references, raw_references = (
        _references(data_bin / kind / f"{subset}.{target}", subset, sentences, ids) for kind in ("tokenized", "raw")
    )
    # A model of lower-cased text cannot be asked for case.
    raw_metric = BLEU(lowercase=bool(template.get("tokenize", {}).get("lowercase", False)))
    return Scores(
        tokenised=tokenised_bleu(tokens, tokenised_references),
        detokenised=raw_metric.corpus_score(detokenised, [raw_references]).score,
        signature=str(raw_metric.get_signature()),
    )


def tokenised_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU over the tokens, as fairseq-generate reports it."""
    return BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references]).score


def _references(path: Path, subset: str, sentences: int, ids: List[int]) -> List[str]:
    """The lines *ids* of *path*."""
    lines = read_lines(path)
    if len(lines) != sentences:
        raise ValueError(
            f"{path} has {len(lines)} lines, but the binarised {subset} has {sentences} sentences, so they cannot be scored: "
            "prepare the data folder again"
        )
    return [lines[each] for each in ids]

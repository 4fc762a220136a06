"""BLEU of a translated subset against the references that ``prepare_data.py`` left in the data folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import List

from sacrebleu.metrics import BLEU
from sacremoses import MosesDetokenizer


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


def score(data_bin: Path, subset: str, hypotheses: List[str]) -> Scores:
    """Score *hypotheses* (tokenised text without subwords, in the order of the subset).

    Raises:
        FileNotFoundError: *data_bin* was not made by ``prepare_data.py``, so it has no references.
    """
    template = json.loads((data_bin / "prepared.json").read_text(encoding="utf-8"))["template"]
    target = template["languages"]["target"]
    tokenised = _lines(data_bin / "tokenized" / f"{subset}.{target}")
    raw = _lines(data_bin / "raw" / f"{subset}.{target}")
    detokenizer = MosesDetokenizer(lang=target)
    detokenised = [detokenizer.detokenize(line.split()) for line in hypotheses]
    # A model of lower-cased text cannot be asked for case.
    raw_metric = BLEU(lowercase=bool(template.get("tokenize", {}).get("lowercase", False)))
    token_metric = BLEU(tokenize="none", force=True)
    return Scores(
        tokenised=token_metric.corpus_score(hypotheses, [tokenised]).score,
        detokenised=raw_metric.corpus_score(detokenised, [raw]).score,
        signature=str(raw_metric.get_signature()),
    )


def _lines(path: Path) -> List[str]:
    return path.read_text(encoding="utf-8").splitlines()

"""What a beam search is asked for."""

from dataclasses import dataclass
from typing import List


@dataclass
class SearchOptions:
    """What fairseq's generator is told; names and meanings are fairseq's."""

    beam_size: int
    max_len: int  # of this batch
    min_len: int
    normalize_scores: bool
    len_penalty: float
    unk_penalty: float
    temperature: float
    bos: int
    eos: int
    pad: int
    unk: int
    suppressed: List[int]

"""Decode once with one exit policy, and say what came of it."""

import json
from typing import Dict

from depth_adaptive_fairseq.commands.evaluation.decoding import decode
from depth_adaptive_fairseq.commands.evaluation.loading import Loaded
from depth_adaptive_fairseq.commands.evaluation.scoring import score


def measure(loaded: Loaded, specification: str, exit_log: str = "", progress: bool = True) -> Dict[str, object]:
    """BLEU, average exit, FLOPs and speed of the policy of *specification*, as columns of a file of results."""
    decoded = decode(loaded, specification, exit_log, progress)
    scores = score(loaded.data_bin, loaded.cfg.dataset.gen_subset, decoded.hypotheses, decoded.sentences)
    statistics = decoded.statistics
    return {
        "bleu": round(scores.tokenised, 4),
        "sacrebleu": round(scores.detokenised, 4),
        "signature": scores.signature,
        "average_exit": round(statistics.average_exit, 4),
        "flops_per_token": round(statistics.flops / statistics.tokens),
        "tokens_per_second": round(statistics.tokens / decoded.seconds, 1),
        "seconds": round(decoded.seconds, 2),
        "sentences": len(decoded.hypotheses),
        "tokens": statistics.tokens,
        "exits": json.dumps([statistics.histogram[n + 1] for n in range(statistics.members[0].num_exits)]),
    }

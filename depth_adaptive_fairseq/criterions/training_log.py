"""From the sums that the criterion returns for each batch to what fairseq logs."""

import math
from typing import Any, Dict, List

from fairseq import metrics, utils

_BITS = 1.0 / math.log(2)


def log_metrics(logging_outputs: List[Dict[str, Any]]) -> None:
    """Log, in base 2 as fairseq does, the loss, each exit's negative log-likelihood, and the halting classifier's.

    ``nll_loss`` and ``ppl`` are those of the last exit.
    """

    def total(key: str) -> float:
        return utils.item(sum(log.get(key, 0) for log in logging_outputs))

    def log_mean(name: str, key: str, count: float, factor: float = 1.0) -> None:
        if count > 0:
            metrics.log_scalar(name, total(key) * factor / count, count, round=3)

    log_mean("loss", "loss", total("sample_size"), _BITS)
    # In mixed training only some tokens reach the last exit.
    mixed = any("tokens_1" in log for log in logging_outputs)
    last_exit_tokens = total("exit_tokens") if mixed else total("ntokens")
    log_mean("nll_loss", "nll_loss", last_exit_tokens, _BITS)
    if last_exit_tokens > 0:
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
    exit_index = 1
    while any(f"nll_{exit_index}" in log for log in logging_outputs):
        count = total(f"tokens_{exit_index}") if mixed else total("ntokens")
        log_mean(f"nll_{exit_index}", f"nll_{exit_index}", count, _BITS)
        exit_index += 1

    terms = total("exit_terms")
    log_mean("exit_loss", "exit_loss", terms, _BITS)
    for name in ("oracle_exit", "predicted_exit", "exit_agreement"):
        log_mean(name, name, terms)

    predicted = total("total")
    if predicted > 0:
        metrics.log_scalar("total", predicted)
        metrics.log_scalar("n_correct", total("n_correct"))
        metrics.log_derived(
            "accuracy", lambda meters: round(meters["n_correct"].sum * 100.0 / meters["total"].sum, 3)
        )

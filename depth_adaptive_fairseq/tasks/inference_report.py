"""What the task tells about the exits of a decoding run: on the screen and in the exit log."""

import logging
from typing import Callable, List, Optional, Sequence

from depth_adaptive_fairseq.exits.cost import DecoderSizes
from depth_adaptive_fairseq.exits.exit_log import ExitLog
from depth_adaptive_fairseq.exits.policy import Policy
from depth_adaptive_fairseq.exits.report import ExitStatistics

logger = logging.getLogger(__name__)


class InferenceReport:
    """Collects the best hypotheses of a run.

    Args:
        policy: the exit policy.
        models: the ensemble.
        dictionary: the target dictionary, which gives the exit log its tokens.
        log_path: ``--exit-log``, or None.
        describe_plan: says what has run the models.

    Raises:
        DepthAdaptiveError: the exit log cannot be written.
    """

    def __init__(self, policy: Policy, models: Sequence, dictionary, log_path: Optional[str] = None, describe_plan: Callable[[], str] = str):
        self.policy = policy
        self.members = [DecoderSizes.of(model) for model in models]
        self.dictionary = dictionary
        self.describe_plan = describe_plan
        self.statistics = ExitStatistics(policy, self.members)
        self.log = ExitLog(log_path) if log_path else None
        self._summarised = 0  # tokens

    def add(self, ids: Sequence[int], source_lengths: Sequence[int], best: List[dict]) -> None:
        """Count a batch's best hypotheses and write them to the exit log.

        Args:
            source_lengths: end of sentence included.
        """
        for sentence_id, source_length, hypothesis in zip(ids, source_lengths, best):
            exits = hypothesis["exits"].tolist()
            flops, full_flops = self.statistics.add(exits, source_length)
            if self.log is not None:
                self.log.write(
                    {
                        "id": int(sentence_id),
                        "tokens": [self.dictionary[token] for token in hypothesis["tokens"].tolist()],
                        "exits": exits,
                        "scores": [round(score, 6) for score in hypothesis["positional_scores"].tolist()],
                        "average_exit": sum(exits) / len(exits),
                        "policy": self.policy.name,
                        "num_exits": self.statistics.num_exits,
                        "flops": flops,
                        "full_depth_flops": full_flops,
                    }
                )

    def summarise_sentence(self, sentence_id: int, source_length: int, hypothesis: dict) -> None:
        """Show one sentence's summary (fairseq-interactive)."""
        statistics = ExitStatistics(self.policy, self.members)
        statistics.add(hypothesis["exits"].tolist(), source_length)
        logger.info(f"sentence {sentence_id} | {statistics.describe()} | per token {hypothesis['steps']}")

    def finish(self, summarise: bool) -> None:
        """End of the batches: complete the exit log and, if asked to, show the summary of the run so far."""
        if self.log is not None:
            self.log.publish()
        if summarise and self.statistics.tokens > self._summarised:
            logger.info(self.statistics.describe())
            if self.describe_plan():
                logger.info(self.describe_plan())
            self._summarised = self.statistics.tokens

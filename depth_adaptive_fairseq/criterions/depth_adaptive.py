"""The criterion ``depth_adaptive_cross_entropy``: training and validating every exit of a decoder."""

import math
from dataclasses import dataclass, field
from typing import Any, Dict, List

from fairseq import metrics, utils
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from depth_adaptive_fairseq.criterions.exit_losses import classifier_loss
from depth_adaptive_fairseq.criterions.exit_weights import EXIT_WEIGHTS, normalised_exit_weights
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder


@dataclass
class DepthAdaptiveCrossEntropyConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.0,
        metadata={"help": "epsilon of label smoothing in the decoder's loss, 0 for none"},
    )
    training_mode: ChoiceEnum(["aligned"]) = field(
        default="aligned",
        metadata={"help": "aligned: every exit predicts every token from states of its own depth (section 2.2)"},
    )
    exit_weights: ChoiceEnum(list(EXIT_WEIGHTS)) = field(
        default="uniform",
        metadata={"help": "w_n, the weight of exit n's loss: 1, n, sqrt(n), 1/sqrt(n) or 1/n (Table 2)"},
    )
    report_accuracy: bool = field(
        default=False,
        metadata={"help": "log the share of tokens that the last exit predicts correctly"},
    )
    ignore_prefix_size: int = field(
        default=0,
        metadata={"help": "leave the first n target tokens of each sentence out of the loss"},
    )
    sentence_avg: bool = II("optimization.sentence_avg")


@register_criterion("depth_adaptive_cross_entropy", dataclass=DepthAdaptiveCrossEntropyConfig)
class DepthAdaptiveCrossEntropy(FairseqCriterion):
    """Aligned training (Eq. 4): L_dec = -(1 / sum_n w_n) sum_n w_n LL^n, summed over the batch's target tokens.

    Logs, in base 2 as fairseq does, ``loss``, ``nll_1`` .. ``nll_N`` for each exit's negative log-likelihood per
    token, and ``nll_loss`` and ``ppl`` of the last exit.
    """

    def __init__(
        self,
        task,
        sentence_avg: bool,
        label_smoothing: float = 0.0,
        training_mode: str = "aligned",
        exit_weights: str = "uniform",
        report_accuracy: bool = False,
        ignore_prefix_size: int = 0,
    ):
        super().__init__(task)
        if not 0.0 <= label_smoothing < 1.0:
            raise DepthAdaptiveError(
                f"--label-smoothing {label_smoothing} was given; it is a probability: give a number from 0 to below 1."
            )
        if ignore_prefix_size < 0:
            raise DepthAdaptiveError(
                f"--ignore-prefix-size {ignore_prefix_size} was given; it counts tokens: give 0 or more."
            )
        self.sentence_avg = sentence_avg
        self.label_smoothing = label_smoothing
        self.training_mode = str(training_mode)
        self.exit_weights = str(exit_weights)
        self.report_accuracy = report_accuracy
        self.ignore_prefix_size = ignore_prefix_size

    def forward(self, model, sample, reduce=True):
        """Compute the loss of *sample*.

        Returns:
            the loss, summed over the batch whatever *reduce* says (fairseq's commands never ask otherwise), the sample
            size that fairseq divides it by, and the numbers to log.

        Raises:
            DepthAdaptiveError: *model* has no exits.
        """
        hidden_states, classifier = self._block_outputs(model, sample["net_input"])
        target = model.get_targets(sample, None)[:, self.ignore_prefix_size :]  # (batch, tgt_len)
        real = target.ne(self.padding_idx)  # (batch, tgt_len)
        weights = normalised_exit_weights(self.exit_weights, len(hidden_states))
        exits = [
            classifier_loss(
                classifier(exit_index),
                hidden[:, self.ignore_prefix_size :][real],  # (target tokens, width)
                target[real],
                self.label_smoothing,
                weight,
            )
            for exit_index, (hidden, weight) in enumerate(zip(hidden_states, weights), start=1)
        ]
        loss = sum(each.loss for each in exits)

        sample_size = target.size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": loss.detach(),
            "nll_loss": exits[-1].nll.sum(),
            "ntokens": sample["ntokens"],
            "nsentences": target.size(0),
            "sample_size": sample_size,
        }
        logging_output.update({f"nll_{n}": each.nll.sum() for n, each in enumerate(exits, start=1)})
        if self.report_accuracy:
            logging_output["n_correct"] = utils.item(exits[-1].correct.sum())
            logging_output["total"] = utils.item(real.sum())
        return loss, sample_size, logging_output

    @staticmethod
    def _block_outputs(model, net_input):
        decoder = getattr(getattr(model, "module", model), "decoder", None)
        if not isinstance(decoder, DepthAdaptiveDecoder):
            raise DepthAdaptiveError(
                f"--criterion depth_adaptive_cross_entropy was given with a {type(model).__name__}, which has one exit; "
                "it trains models with an exit behind every block: give --arch depth_adaptive_transformer or one of "
                "its presets."
            )
        # Through the model's own forward, so that distributed wrappers see the pass.
        _, extra = model(**net_input, features_only=True)
        return [hidden.transpose(0, 1) for hidden in extra["inner_states"][1:]], decoder.exit_classifier

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Aggregate the logging outputs of all workers and batches."""

        def total(key: str):
            return sum(log.get(key, 0) for log in logging_outputs)

        sample_size, tokens = total("sample_size"), total("ntokens")
        bits = 1.0 / math.log(2)
        metrics.log_scalar("loss", total("loss") * bits / sample_size, sample_size, round=3)
        metrics.log_scalar("nll_loss", total("nll_loss") * bits / tokens, tokens, round=3)
        metrics.log_derived("ppl", lambda meters: utils.get_perplexity(meters["nll_loss"].avg))
        exit_index = 1
        while f"nll_{exit_index}" in logging_outputs[0]:
            key = f"nll_{exit_index}"
            metrics.log_scalar(key, total(key) * bits / tokens, tokens, round=3)
            exit_index += 1
        predicted = utils.item(total("total"))
        if predicted > 0:
            metrics.log_scalar("total", predicted)
            metrics.log_scalar("n_correct", utils.item(total("n_correct")))
            metrics.log_derived(
                "accuracy",
                lambda meters: round(meters["n_correct"].sum * 100.0 / meters["total"].sum, 3)
                if meters["total"].sum > 0
                else float("nan"),
            )

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """The logging outputs are plain sums, so fairseq may add them up across workers."""
        return True

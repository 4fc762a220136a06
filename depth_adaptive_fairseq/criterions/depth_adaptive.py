"""The criterion ``depth_adaptive_cross_entropy``: training and validating every exit of a decoder."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II
from torch import Tensor

from depth_adaptive_fairseq.criterions.classifier_loss import ClassifierLoss, classifier_loss
from depth_adaptive_fairseq.criterions.exit_loss import ExitLoss, exit_loss
from depth_adaptive_fairseq.criterions.exit_sampling import draw_exit_paths
from depth_adaptive_fairseq.criterions.exit_weights import EXIT_WEIGHTS, normalised_exit_weights
from depth_adaptive_fairseq.criterions.training_log import log_metrics
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder
from depth_adaptive_fairseq.modules.gradient_scaling import exit_gamma, scale_gradient


@dataclass
class DepthAdaptiveCrossEntropyConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.0,
        metadata={"help": "epsilon of label smoothing in the decoder's loss, 0 for none"},
    )
    training_mode: ChoiceEnum(["aligned", "mixed"]) = field(
        default="aligned",
        metadata={
            "help": "aligned: every exit predicts every token from states of its own depth; mixed: tokens leave at drawn "
            "exits, as when decoding (section 2.2)"
        },
    )
    exit_paths: int = field(
        default=1, metadata={"help": "mixed: how many sequences of exits are drawn for each sentence, M"}
    )
    exit_weights: ChoiceEnum(list(EXIT_WEIGHTS)) = field(
        default="uniform",
        metadata={"help": "aligned: w_n, the weight of exit n's loss: 1, n, sqrt(n), 1/sqrt(n) or 1/n (Table 2)"},
    )
    exit_loss_weight: float = field(
        default=0.0,
        metadata={"help": "alpha of Eq. 7, the weight of the halting classifier's loss; 0 does not train it"},
    )
    oracle: ChoiceEnum(["likelihood", "correctness"]) = field(
        default="likelihood",
        metadata={"help": "what the halting classifier learns: the exit of highest likelihood, or the first correct one"},
    )
    oracle_penalty: float = field(default=0.0, metadata={"help": "lambda: what a block costs the oracle, 0 or more"})
    oracle_kernel_width: float = field(
        default=0.0,
        metadata={"help": "sigma: how far the oracle of a token looks at its neighbours (Eqs. 15 and 17), 0 for not at all"},
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
    seed: int = II("common.seed")


@register_criterion("depth_adaptive_cross_entropy", dataclass=DepthAdaptiveCrossEntropyConfig)
class DepthAdaptiveCrossEntropy(FairseqCriterion):
    """L = L_dec + alpha L_exit (Eq. 7), summed over the batch's target tokens.

    L_dec is that of aligned training, -(1 / sum_n w_n) sum_n w_n LL^n (Eq. 4), or, in training with ``mixed``,
    -(1/M) sum_m sum_t log p(y_t | h_{t-1}^{n_t}) along M drawn sequences of exits (Eq. 5). Validation is always aligned.
    """

    def __init__(
        self,
        task,
        sentence_avg: bool,
        label_smoothing: float = 0.0,
        training_mode: str = "aligned",
        exit_paths: int = 1,
        exit_weights: str = "uniform",
        exit_loss_weight: float = 0.0,
        oracle: str = "likelihood",
        oracle_penalty: float = 0.0,
        oracle_kernel_width: float = 0.0,
        report_accuracy: bool = False,
        ignore_prefix_size: int = 0,
        seed: int = 1,
    ):
        super().__init__(task)
        self.sentence_avg = sentence_avg
        self.label_smoothing = label_smoothing
        self.training_mode = str(training_mode)
        self.exit_paths = exit_paths
        self.exit_weights = str(exit_weights)
        self.exit_loss_weight = exit_loss_weight
        self.oracle = str(oracle)
        self.oracle_penalty = oracle_penalty
        self.oracle_kernel_width = oracle_kernel_width
        self.report_accuracy = report_accuracy
        self.ignore_prefix_size = ignore_prefix_size
        self.seed = seed
        self._refuse_bad_options()

    def forward(self, model, sample, reduce=True):
        """Compute the loss of *sample*.

        Returns:
            the loss, summed over the batch whatever *reduce* says (fairseq's commands never ask otherwise), the sample
            size that fairseq divides it by, and the numbers to log.

        Raises:
            DepthAdaptiveError: *model* has no exits, or options that this criterion cannot train it with.
        """
        decoder = self._decoder(model)
        target = sample["target"][:, self.ignore_prefix_size :]  # (batch, tgt_len)
        mask = target.ne(self.padding_idx)  # (batch, tgt_len)
        if self.training_mode == "mixed" and model.training:
            loss, log = self._mixed(model, decoder, sample, target, mask)
        else:
            loss, log = self._aligned(model, decoder, sample, target, mask)
        sample_size = target.size(0) if self.sentence_avg else sample["ntokens"]
        log.update(
            loss=loss.detach(), ntokens=sample["ntokens"], nsentences=target.size(0), sample_size=sample_size
        )
        return loss, sample_size, log

    def _aligned(
        self, model, decoder: DepthAdaptiveDecoder, sample: dict, target: Tensor, mask: Tensor
    ) -> Tuple[Tensor, Dict[str, Any]]:
        # Through the model's own forward, so that distributed wrappers see the pass.
        _, extra = model(**sample["net_input"], features_only=True)
        weights = normalised_exit_weights(self.exit_weights, decoder.num_exits)
        exits: List[ClassifierLoss] = []
        loss = 0.0
        for exit_index, (state, weight) in enumerate(zip(extra["inner_states"][1:], weights), start=1):
            hidden = state.transpose(0, 1)[:, self.ignore_prefix_size :]  # (batch, tgt_len, width)
            exits.append(
                classifier_loss(
                    decoder.exit_classifier(exit_index), hidden[mask], target[mask], self.label_smoothing, weight
                )
            )
            gamma = exit_gamma(decoder.gradient_scaling, exit_index, decoder.num_exits) if decoder.gradient_scaling else 1.0
            loss = loss + scale_gradient(exits[-1].loss, gamma)

        log = {f"nll_{n}": each.nll.sum() for n, each in enumerate(exits, start=1)}
        log["nll_loss"] = log[f"nll_{decoder.num_exits}"]
        if self.report_accuracy:
            log.update(n_correct=exits[-1].correct.sum(), total=mask.sum())
        if decoder.halting is not None:
            of_exits = self._exit_loss(decoder, extra["halting_logits"], exits, mask)
            loss = loss + decoder.halting.zero()  # where there is nothing to decide, distributed training wants a gradient, too
            if self.exit_loss_weight > 0:  # alpha = 0 times the exit loss is no number where the loss is infinite
                loss = loss + self.exit_loss_weight * of_exits.loss
            log.update(
                exit_loss=of_exits.loss.detach(),
                exit_terms=of_exits.terms,
                oracle_exit=of_exits.oracle_exit,
                predicted_exit=of_exits.predicted_exit,
                exit_agreement=of_exits.agreement,
            )
        return loss, log

    def _exit_loss(self, decoder, halting_logits: Tensor, exits: List[ClassifierLoss], mask: Tensor) -> ExitLoss:
        # (target tokens, N); in float64, so that ties are ties
        known = [-each.nll if self.oracle == "likelihood" else each.correct for each in exits]
        scores = torch.zeros(*mask.shape, decoder.num_exits, dtype=torch.float64, device=mask.device)
        scores[mask] = torch.stack(known, dim=-1).to(scores)
        if not decoder.halting.per_sentence:
            halting_logits = halting_logits[:, self.ignore_prefix_size :]
        return exit_loss(
            decoder.halting, halting_logits, scores, mask, self.oracle_penalty, self.oracle_kernel_width
        )

    def _mixed(
        self, model, decoder: DepthAdaptiveDecoder, sample: dict, target: Tensor, mask: Tensor
    ) -> Tuple[Tensor, Dict[str, Any]]:
        if decoder.gradient_scaling > 0:
            raise DepthAdaptiveError(
                f"--training-mode mixed was given with --gradient-scaling {decoder.gradient_scaling}; gradient scaling "
                "balances the exits of aligned training: give --training-mode aligned, or leave the option out."
            )
        length = sample["net_input"]["prev_output_tokens"].size(1)
        exits = draw_exit_paths(
            sample["id"], length, self.exit_paths, decoder.num_exits, self.seed, decoder.num_updates
        )  # (batch, M, tgt_len)
        states, _ = model(**sample["net_input"], exit_paths=exits)  # (batch, M, tgt_len, width)
        states, exits = states[:, :, self.ignore_prefix_size :], exits[:, :, self.ignore_prefix_size :]
        targets = target.unsqueeze(1).expand_as(exits)

        loss, last_exit = 0.0, None
        log: Dict[str, Any] = {}
        for exit_index in range(1, decoder.num_exits + 1):
            here = exits.eq(exit_index) & mask.unsqueeze(1)  # (batch, M, tgt_len)
            last_exit = classifier_loss(
                decoder.exit_classifier(exit_index), states[here], targets[here], self.label_smoothing, 1 / self.exit_paths
            )
            loss = loss + last_exit.loss
            log[f"nll_{exit_index}"], log[f"tokens_{exit_index}"] = last_exit.nll.sum(), here.sum()
        log.update(nll_loss=last_exit.nll.sum(), exit_tokens=here.sum())
        if self.report_accuracy:
            log.update(n_correct=last_exit.correct.sum(), total=here.sum())
        if decoder.halting is not None:  # waits for its own phase, with a zero gradient
            loss = loss + decoder.halting.zero()
        return loss, log

    def _decoder(self, model) -> DepthAdaptiveDecoder:
        while hasattr(model, "module"):  # distributed wrappers, of which fairseq uses two
            model = model.module
        decoder = getattr(model, "decoder", None)
        if not isinstance(decoder, DepthAdaptiveDecoder):
            raise DepthAdaptiveError(
                f"--criterion depth_adaptive_cross_entropy was given with a {type(model).__name__}, which has one exit; "
                "it trains models with an exit behind every block: give --arch depth_adaptive_transformer or one of "
                "its presets."
            )
        if self.exit_loss_weight > 0 and decoder.halting is None:
            raise DepthAdaptiveError(
                f"--exit-loss-weight {self.exit_loss_weight} was given for a model without a halting classifier, which it "
                "would train: give --halting sequence, multinomial or geometric, or leave the option out."
            )
        if self.oracle_kernel_width > 0 and decoder.halting is not None and decoder.halting.per_sentence:
            raise DepthAdaptiveError(
                f"--oracle-kernel-width {self.oracle_kernel_width} was given with --halting sequence, whose oracle sums over "
                "the whole sentence: leave the option out."
            )
        return decoder

    def _refuse_bad_options(self) -> None:
        def refuse(option: str, value, allowed: str) -> None:
            raise DepthAdaptiveError(f"--{option} {value} was given; give {allowed}.")

        # fairseq's parser refuses other choices; whoever builds the criterion in Python is told here.
        for option, choices in (
            ("training_mode", ("aligned", "mixed")),
            ("exit_weights", tuple(EXIT_WEIGHTS)),
            ("oracle", ("likelihood", "correctness")),
        ):
            if getattr(self, option) not in choices:
                refuse(option.replace("_", "-"), getattr(self, option), f"one of {', '.join(choices)}")
        if not 0.0 <= self.label_smoothing < 1.0:
            refuse("label-smoothing", self.label_smoothing, "a probability, from 0 to below 1")
        if self.ignore_prefix_size < 0:
            refuse("ignore-prefix-size", self.ignore_prefix_size, "a number of tokens, 0 or more")
        if self.exit_paths < 1:
            refuse("exit-paths", self.exit_paths, "a number of paths, 1 or more")
        for option in ("exit_loss_weight", "oracle_penalty", "oracle_kernel_width"):
            value = getattr(self, option)
            if not 0.0 <= value < float("inf"):
                refuse(option.replace("_", "-"), value, "a number, 0 or more")
        if self.training_mode == "mixed":
            if self.exit_loss_weight > 0:
                refuse("training-mode", "mixed with an --exit-loss-weight", "--training-mode aligned, which the exit loss needs")
            if self.exit_weights != "uniform":
                refuse("training-mode", f"mixed with --exit-weights {self.exit_weights}", "--exit-weights uniform: exits are drawn")

    @classmethod
    def reduce_metrics(cls, logging_outputs: List[Dict[str, Any]]) -> None:
        """Aggregate the logging outputs of all workers and batches."""
        log_metrics(logging_outputs)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """The logging outputs are plain sums, so fairseq may add them up across workers."""
        return True

"""Decode a subset with one exit policy, and time it."""

import time
from dataclasses import dataclass
from typing import List

import torch
from fairseq import utils
from omegaconf import open_dict
from tqdm import tqdm

from depth_adaptive_fairseq.generation.cost import DecoderSizes
from depth_adaptive_fairseq.generation.exit_options import EXIT_POLICIES
from depth_adaptive_fairseq.generation.report import ExitStatistics

STOCK = "stock"

# The option that a policy's argument is for.
ARGUMENTS = {
    "fixed": "exit_at",
    "uniform": "exit_seed",
    "confidence": "exit_thresholds",
    "geometric": "exit_thresholds",
    "entropy": "exit_entropy",
    "margin": "exit_margin",
    "saturation": "exit_saturation",
    "patience": "exit_patience",
}


@dataclass
class Decoded:
    """What one pass over a subset gave.

    Attributes:
        hypotheses: the best hypothesis of each sentence as fairseq's tokens, by sentence id.
        statistics: exits and FLOPs.
        seconds: in the encoder, the decoder and the beam search; batching left out.
    """

    hypotheses: List[str]
    statistics: ExitStatistics
    seconds: float


def policy_options(specification: str) -> dict:
    """The task's options from ``policy`` or ``policy:argument`` (``fixed:3``, ``uniform:7``, ``confidence:0.9``).

    Raises:
        ValueError: no policy, or an argument for one that takes none.
    """
    policy, _, argument = specification.partition(":")
    if policy not in (STOCK, *EXIT_POLICIES):
        raise ValueError(
            f"'{specification}' was given; the policies are {', '.join(EXIT_POLICIES)}, and {STOCK} for fairseq's own decoding: "
            "choose one of them"
        )
    if argument and policy not in ARGUMENTS:
        raise ValueError(
            f"'{specification}' was given; {policy} takes no argument: give '{policy}', or one of "
            + ", ".join(f"{name}:..." for name in ARGUMENTS)
        )
    if policy == STOCK:
        return {}
    options = {"exit_policy": policy}
    if argument:
        options[ARGUMENTS[policy]] = argument
    return options


def decode(task, models, cfg, specification: str, exit_log: str = "", progress: bool = True) -> Decoded:
    """Translate the subset of *cfg* (fairseq's generation configuration) with the policy of *specification*."""
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu
    generation = cfg.generation.copy()
    with open_dict(generation):
        generation.update(policy_options(specification))
        if exit_log:
            generation.exit_log = exit_log
    batches = task.get_batch_iterator(
        dataset=task.dataset(cfg.dataset.gen_subset),
        max_tokens=cfg.dataset.max_tokens,
        max_sentences=cfg.dataset.batch_size,
        max_positions=utils.resolve_max_positions(task.max_positions(), *[m.max_positions() for m in models]),
        ignore_invalid_inputs=cfg.dataset.skip_invalid_size_inputs_valid_test,
        seed=cfg.common.seed,
    ).next_epoch_itr(shuffle=False)
    generator = task.build_generator(models, generation)

    policy = specification.partition(":")[0]
    statistics = ExitStatistics("full" if policy == STOCK else policy, [DecoderSizes.of(model) for model in models])
    hypotheses, seconds = {}, 0.0
    for sample in tqdm(batches, desc=specification, leave=False, unit="batch", disable=not progress):
        if use_cuda:
            sample = utils.move_to_cuda(sample)
        started = time.perf_counter()
        results = task.inference_step(generator, models, sample)
        if use_cuda:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
        lengths = sample["net_input"]["src_lengths"].tolist()
        for sentence_id, length, result in zip(sample["id"].tolist(), lengths, results):
            tokens = result[0]["tokens"]
            depth = statistics.members[0].num_exits
            exits = result[0]["exits"].tolist() if "exits" in result[0] else [depth] * len(tokens)
            statistics.add(exits, length)
            hypotheses[sentence_id] = task.target_dictionary.string(tokens.int().cpu(), cfg.common_eval.post_process)
    return Decoded([text for _, text in sorted(hypotheses.items())], statistics, seconds)

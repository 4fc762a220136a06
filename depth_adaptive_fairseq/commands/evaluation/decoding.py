"""Decode a subset with one exit policy, and time it."""

import time
from dataclasses import dataclass
from typing import Dict, Optional

import torch
from fairseq import utils
from omegaconf import open_dict
from tqdm import tqdm

from depth_adaptive_fairseq.commands.evaluation.loading import Loaded
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.exits.cost import DecoderSizes
from depth_adaptive_fairseq.exits.options import read_specification
from depth_adaptive_fairseq.exits.registry import POLICIES
from depth_adaptive_fairseq.exits.report import ExitStatistics

STOCK = "stock"


@dataclass
class Decoded:
    """What one pass over a subset gave.

    Attributes:
        hypotheses: the best hypothesis as fairseq's tokens, by the sentence's id: its place in the subset, from 0.
        sentences: how many the subset has; those without a hypothesis were skipped as too long.
        statistics: exits and FLOPs.
        seconds: in the encoder, the decoder and the beam search; batching left out.
    """

    hypotheses: Dict[int, str]
    sentences: int
    statistics: ExitStatistics
    seconds: float


def policy_options(specification: str) -> dict:
    """The task's options from ``policy`` or ``policy:value``; none for ``stock``, which is fairseq's own decoding.

    Raises:
        DepthAdaptiveError: no policy, or a value for one that takes none.
    """
    if specification.startswith(f"{STOCK}:"):
        raise DepthAdaptiveError(f"'{specification}' was given; {STOCK} takes no value: give '{STOCK}'.")
    return {} if specification == STOCK else read_specification(specification)


def forced_prefix(sample: dict, cfg) -> Optional[torch.Tensor]:
    """The target tokens that ``--prefix-size`` forces, ``(sentences, size)``, or None.

    Raises:
        ValueError: the subset has no target side.
    """
    if cfg.generation.prefix_size <= 0:
        return None
    if sample.get("target") is None:
        raise ValueError(f"--prefix-size {cfg.generation.prefix_size} was given for a subset without references: leave it out")
    return sample["target"][:, : cfg.generation.prefix_size]


def decode(loaded: Loaded, specification: str, exit_log: str = "", progress: bool = True) -> Decoded:
    """Translate the subset that is *loaded* with the policy of *specification*.

    Raises:
        ValueError: all its sentences are too long.
    """
    task, models, cfg = loaded.task, loaded.models, loaded.cfg
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu
    generation = cfg.generation.copy()
    with open_dict(generation):
        generation.update(policy_options(specification))
        if exit_log:
            generation.exit_log = exit_log
    if loaded.random_state is not None:
        utils.set_rng_state(loaded.random_state)
    dataset = task.dataset(cfg.dataset.gen_subset)
    batches = task.get_batch_iterator(
        dataset=dataset,
        max_tokens=cfg.dataset.max_tokens,
        max_sentences=cfg.dataset.batch_size,
        max_positions=loaded.max_positions,
        ignore_invalid_inputs=cfg.dataset.skip_invalid_size_inputs_valid_test,
        required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
        seed=cfg.common.seed,
        num_workers=cfg.dataset.num_workers,
        data_buffer_size=cfg.dataset.data_buffer_size,
    ).next_epoch_itr(shuffle=False)
    language_model = {"lm_model": loaded.language_model, "lm_weight": cfg.generation.lm_weight}
    generator = task.build_generator(models, generation, extra_gen_cls_kwargs=language_model)

    policy = generator.model.rule.policy if specification != STOCK else POLICIES["full"]
    statistics = ExitStatistics(policy, [DecoderSizes.of(model) for model in models])
    hypotheses, seconds = {}, 0.0
    progress = progress and not cfg.common.no_progress_bar
    for sample in tqdm(batches, desc=specification, leave=False, unit="batch", disable=not progress):
        if use_cuda:
            sample = utils.move_to_cuda(sample)
        prefix = forced_prefix(sample, cfg)
        started = time.perf_counter()
        results = task.inference_step(generator, models, sample, prefix_tokens=prefix)
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
    if not hypotheses:
        raise ValueError(f"no sentence of {cfg.dataset.gen_subset} was translated: all {len(dataset)} were skipped, or it is empty")
    return Decoded(hypotheses, len(dataset), statistics, seconds)

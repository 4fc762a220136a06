"""What decodes in ``depth-adaptive benchmark``: stock fairseq, this plugin by policy and precision, CTranslate2 by precision.

An engine is written ``policy``, ``policy:argument``, ``stock`` or ``ct2``, each with ``@precision`` behind it where it is not
float32: ``full``, ``geometric:0.5``, ``geometric:0.5@int8``, ``stock``, ``ct2@int8``.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Tuple

import torch
from omegaconf import open_dict

import depth_adaptive_fairseq.inference.generator as generator
from depth_adaptive_fairseq.commands.benchmarking.report import WORK
from depth_adaptive_fairseq.commands.evaluation.decoding import STOCK, forced_prefix, policy_options

CTRANSLATE2 = "ct2"
PRECISIONS = {
    STOCK: ("float32",),
    CTRANSLATE2: ("float32", "int8", "int16", "int8_float32"),
    "ours": ("float32", "float16", "int8"),
}


def parse_engine(specification: str) -> Tuple[str, str]:
    """Name and precision of an engine.

    Raises:
        ValueError: no such engine, or a precision that it does not have.
    """
    name, _, precision = specification.partition("@")
    if name != CTRANSLATE2:
        policy_options(name)
    allowed = PRECISIONS.get(name, PRECISIONS["ours"])
    precision = precision or "float32"
    if precision not in allowed:
        raise ValueError(f"'{specification}' was given; the precisions of {name} are {', '.join(allowed)}")
    return name, precision


@dataclass
class Translation:
    """The best hypothesis of a sentence: target tokens without the end, and the exits with it where there are any."""

    tokens: List[int]
    exits: Optional[List[int]] = None


class FairseqEngine:
    """fairseq's generator, or this plugin's, with the time in the encoder taken apart.

    Args:
        task, models, cfg: as fairseq-generate builds them; for `stock` those of --task translation.
        name, precision: see :func:`parse_engine`.
        language_model: of ``--lm-path``, or None.
    """

    def __init__(self, task, models, cfg, name: str, precision: str, language_model=None):
        self.models, self.cfg = models, cfg
        fusion = {"lm_model": language_model, "lm_weight": cfg.generation.lm_weight}
        self.encoder_seconds = 0.0
        self._work_before = dict.fromkeys(WORK, 0)
        generation = cfg.generation.copy()
        if name == STOCK:
            self.generator = task.build_generator(models, generation, extra_gen_cls_kwargs=fusion)
            for model in models:
                model.encoder.forward = self._timed(model.encoder.forward)
        else:
            with open_dict(generation):
                generation.update(policy_options(name))
                generation.quantize = {"float32": "none"}.get(precision, precision)
            self.generator = task.build_generator(models, generation, extra_gen_cls_kwargs=fusion)
            generator.encode = self._timed(generator.encode)

    @property
    def work(self) -> dict:
        """Steps, block calls and block rows since :meth:`start`, None for stock fairseq."""
        counted = getattr(self.generator.model, "work", None)
        return {name: None if counted is None else getattr(counted, name) - self._work_before[name] for name in WORK}

    def start(self) -> None:
        """Count time and work from now on."""
        self.encoder_seconds = 0.0
        self._work_before = dict.fromkeys(WORK, 0)
        self._work_before = self.work

    def _timed(self, function):
        def call(*args, **kwargs):
            started = time.perf_counter()
            result = function(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.encoder_seconds += time.perf_counter() - started
            return result

        return call

    @torch.no_grad()
    def translate(self, batch: dict) -> List[Translation]:
        found = self.generator.generate(self.models, batch, prefix_tokens=forced_prefix(batch, self.cfg))
        best = [sentence[0] for sentence in found]
        return [
            Translation(one["tokens"].tolist()[:-1], one["exits"].tolist() if "exits" in one else None) for one in best
        ]


class CTranslate2Engine:
    """CTranslate2 on the exported full-depth model.

    Args:
        folder: what its converter wrote.
        task, cfg: for the dictionaries and the options of the search.
        threads: within one batch.
    """

    encoder_seconds = None
    work = dict.fromkeys(WORK)

    def start(self) -> None:
        """It tells nothing but its translations."""

    def __init__(self, folder: Path, task, cfg, precision: str, threads: int):
        import ctranslate2

        self.translator = ctranslate2.Translator(
            str(folder), device="cpu", compute_type=precision, inter_threads=1, intra_threads=threads
        )
        self.source, self.target = task.source_dictionary, task.target_dictionary
        self.generation = cfg.generation

    def translate(self, batch: dict) -> List[Translation]:
        tokens = batch["net_input"]["src_tokens"]
        sentences = [
            [self.source[token] for token in row if token not in (self.source.pad(), self.source.eos())] for row in tokens.tolist()
        ]
        length = int(self.generation.max_len_a * tokens.size(1) + self.generation.max_len_b)
        results = self.translator.translate_batch(
            sentences,
            beam_size=self.generation.beam,
            length_penalty=self.generation.lenpen,
            min_decoding_length=self.generation.min_len,
            max_decoding_length=length,
            max_batch_size=len(sentences),
            batch_type="examples",
        )
        return [Translation([self.target.index(token) for token in result.hypotheses[0]]) for result in results]

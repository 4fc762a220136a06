"""Translates with two threads, and then in forked processes: a program of its own, which ``test_forked_workers.py`` reads.

Prints a JSON object: for each kind of kernels, what the parent found, and what each child did, by name. A child that
hangs is killed, and null.
"""

import json
import multiprocessing
import os
import signal
import sys
from typing import Callable, Optional
from unittest import mock

import torch
from torch.utils.data import DataLoader

from depth_adaptive_fairseq.compat import forked_processes
from tests.models_for_tests import ModelOptions, make_generator, make_model, make_sample, random_sources

SECONDS = 60  # until a child that should translate counts as hanging


class Translator:
    """Translates a batch large enough for threads to share its work."""

    def __init__(self, kernels: str):
        wide = dict(decoder_embed_dim=256, encoder_embed_dim=256, decoder_ffn_embed_dim=1024, decoder_layers=2)
        self._models = [make_model(ModelOptions(seed=22, **wide), torch.float32)]
        self._generator = make_generator(self._models, beam=2, max_len_b=2, exit_policy="uniform", decoding_kernels=kernels)
        self._sample = make_sample(random_sources(34, [4] * 30))

    def __call__(self) -> dict:
        best = [sentence[0] for sentence in self._generator.generate(self._models, self._sample)]
        return {
            "threads": torch.get_num_threads(),
            "tokens": [each["tokens"].tolist() for each in best],
            "exits": [each["exits"].tolist() for each in best],
            "scores": [each["score"].item() for each in best],
        }

    # A data set of one element, so that a data loader's worker can be what translates.
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict:
        return self()


def in_a_fork(translate: Callable[[], dict], seconds: int = SECONDS) -> Optional[dict]:
    """What *translate* returns in a copy of this process; None if it does not within *seconds*."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(seconds)  # ends this process whatever it is in the middle of
        with open(writing, "w") as pipe:
            json.dump(translate(), pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        found = pipe.read()
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGALRM), status
    return json.loads(found) if status == 0 else None


def in_a_fork_of_a_fork(translate: Callable[[], dict]) -> Optional[dict]:
    """A web server's master reads the model, and its worker starts a process for each request."""

    def translate_and_fork() -> Optional[dict]:
        translate()
        return in_a_fork(translate)

    return in_a_fork(translate_and_fork)


def in_a_pool(translate: Callable[[], dict]) -> dict:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(translate).get(SECONDS)


def in_a_data_loader(translate: Translator) -> dict:
    return next(iter(DataLoader(translate, num_workers=1, batch_size=None, multiprocessing_context="fork", timeout=SECONDS)))


def main(kernels: str) -> dict:
    """All the ways with these *kernels*."""
    translate = Translator(kernels)
    found = {"parent": translate()}
    for way in (in_a_fork, in_a_fork_of_a_fork, in_a_pool, in_a_data_loader):
        found[way.__name__] = way(translate)
        found[f"parent after {way.__name__}"] = translate()

    with mock.patch.object(forked_processes, "end_openmp_threads", return_value=False):
        found["threads cannot be ended"] = in_a_fork(translate)
    translate()
    with mock.patch.object(forked_processes, "end_openmp_threads", return_value=True):  # which is a lie
        found["nothing is done"] = in_a_fork(translate, seconds=1)
    return found


if __name__ == "__main__":
    json.dump({kernels: main(kernels) for kernels in ("native", "torch")}, sys.stdout)

"""One process that trains one model on random sentences and reports time, memory and FLOPs of a step.

Run by ``depth-adaptive benchmark-training``, a fresh process for each measurement, so that no memory is left from another model.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import torch
from fairseq import options, tasks
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer
from torch.utils.flop_counter import FlopCounterMode

from depth_adaptive_fairseq import register

LENGTH = 32  # tokens of every sentence, source and target


def resident_bytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_resident_bytes() -> int:
    """The most that was ever resident in this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_dictionary(vocabulary: int) -> Dictionary:
    """A dictionary of *vocabulary* types, special ones included."""
    dictionary = Dictionary()
    for number in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{number}")
    return dictionary


def make_batch(dictionary: Dictionary, max_tokens: int, seed: int) -> dict:
    """*max_tokens* random target tokens and as many source tokens, as fairseq's batches are."""
    generator = torch.Generator().manual_seed(seed)

    def sentence() -> torch.Tensor:
        tokens = torch.randint(dictionary.nspecial, len(dictionary), (LENGTH - 1,), generator=generator)
        return torch.cat([tokens, torch.tensor([dictionary.eos()])])

    pairs = [(sentence(), sentence()) for _ in range(max_tokens // LENGTH)]
    sizes = [LENGTH] * len(pairs)
    dataset = LanguagePairDataset(
        [source for source, _ in pairs], sizes, dictionary, [target for _, target in pairs], sizes, dictionary
    )
    return dataset.collater([dataset[index] for index in range(len(dataset))])


class RandomText:
    """What fairseq's translation tasks need of their class to be built without data."""

    @staticmethod
    def build(cfg, dictionary: Dictionary):
        return tasks.TASK_REGISTRY[cfg._name](cfg, dictionary, dictionary)


def measure(arguments: argparse.Namespace) -> dict:
    """Train and measure; see ``depth-adaptive benchmark-training`` for the meaning of the entries."""
    torch.set_num_threads(arguments.threads)
    register()
    parser = options.get_training_parser()
    words = ["unused", "--source-lang", "a", "--target-lang", "b", *arguments.options]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words))
    use_cuda = torch.cuda.is_available() and not cfg.common.cpu

    before = 0 if use_cuda else resident_bytes()
    dictionary = make_dictionary(arguments.vocabulary)
    task = RandomText.build(cfg.task, dictionary)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    trainer = Trainer(cfg, task, model, criterion)
    batch = make_batch(dictionary, arguments.max_tokens, seed=1)

    trainer.train_step([batch])  # makes the optimiser's state; not measured
    walls, processor = [], []
    for _ in range(arguments.steps):
        if use_cuda:
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train_step([batch])
        if use_cuda:
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - cpu)
    peak = torch.cuda.max_memory_allocated() if use_cuda else peak_resident_bytes() - before
    return {
        "wall": statistics.median(walls),
        "processor": statistics.median(processor),
        "peak_bytes": peak,
        "state_bytes": 4 * 4 * sum(parameter.numel() for parameter in model.parameters()),  # weight, gradient, Adam's two
        "flops": count_flops(trainer, batch) if arguments.flops else None,
    }


class _NoModules:
    """Stands in for FlopCounterMode's record of modules, which cannot follow a gradient taken inside a forward pass."""

    parents = frozenset({"Global"})

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def count_flops(trainer: Trainer, batch: dict) -> int:
    """Floating-point operations of the matrix products of a step's forward and backward passes."""
    model = trainer.model
    model.train()
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with counter:
        loss, _, _ = trainer.criterion(model, trainer._prepare_sample(batch)[0])
        loss.backward()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--flops", action="store_true")
    parser.add_argument("options", nargs="+", help="fairseq-train's, behind --")
    print(json.dumps(measure(parser.parse_args())))


if __name__ == "__main__":
    main()

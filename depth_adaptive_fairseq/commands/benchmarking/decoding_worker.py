"""A process that holds one engine and decodes a subset whenever it is told to.

Run by ``depth-adaptive benchmark``, one process for each engine and number of threads, so that what one engine allocates is
not counted as another's. Reads a batch size a line, answers with a JSON object a line.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import torch
from fairseq import tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from depth_adaptive_fairseq.commands.benchmarking.engines import CTRANSLATE2, STOCK, CTranslate2Engine, FairseqEngine, parse_engine
from depth_adaptive_fairseq.commands.evaluation import generation_options
from depth_adaptive_fairseq.commands.evaluation.loading import generation_parser, load_models, max_positions, parse, seed_everything
from depth_adaptive_fairseq.commands.evaluation.scoring import tokenised_bleu

DECODE_DEFAULTS = ["--remove-bpe", "sentencepiece", "--beam", "5"]
SKIP = "skip_invalid_size_inputs_valid_test"
BATCHES = "the batches are those of --batch-size or --batch-sizes"
REASONS = {
    "task": "each engine has its own",
    "exit_policy": "engines and policies are named by themselves",
    "exit_log": "each pass would write its own over it",
    "quantize": "weights of another precision are asked for by an @ behind an engine, as in full@int8",
    "max_tokens": BATCHES,
    "batch_size": BATCHES,
    "required_batch_size_multiple": BATCHES,
    "num_workers": "batches are made before the time is taken",
    "data_buffer_size": "batches are made before the time is taken",
}


def honoured_by(engine: str) -> set:
    """The options of fairseq-generate that the engine of that name honours."""
    if engine == CTRANSLATE2:
        return {*generation_options.CTRANSLATE2, SKIP} - {*REASONS}
    return {*generation_options.HONOURED, SKIP} - {*REASONS}


def resident_kib(field: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (most since the last reset) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise KeyError(field)


def forget_peak() -> None:
    """Start counting ``VmHWM`` anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Worker:
    """An engine and the subset it decodes."""

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(arguments.threads)
        logging.disable(logging.INFO)
        name, precision = parse_engine(arguments.engine)
        task_name = "translation" if name in (STOCK, CTRANSLATE2) else "depth_adaptive_translation"
        parser = generation_parser("benchmark", __doc__, "... --options [options of fairseq-generate]", task_name)
        reasons = {option: f"{CTRANSLATE2} does not know it" for option in generation_options.HONOURED} if name == CTRANSLATE2 else {}
        args = parse(parser, arguments.options, DECODE_DEFAULTS, honoured_by(name), {**reasons, **REASONS})
        self.cfg = convert_namespace_to_omegaconf(args)
        self.task = tasks.setup_task(self.cfg.task)
        self.use_cuda = torch.cuda.is_available() and not self.cfg.common.cpu and name != CTRANSLATE2
        self.models = []
        if name == CTRANSLATE2:
            self.task.load_dataset(self.cfg.dataset.gen_subset)
            self.engine = CTranslate2Engine(arguments.ctranslate2_model, self.task, self.cfg, precision, arguments.threads)
        else:
            self.models, language_model = load_models(self.task, self.cfg)
            self.engine = FairseqEngine(self.task, self.models, self.cfg, name, precision, language_model)
        self.dataset = self.task.dataset(self.cfg.dataset.gen_subset)
        self.sentences = arguments.sentences

    def batches(self, batch_size: int) -> list:
        """Batches of *batch_size* sentences of similar length, in fairseq's order, ready to be decoded."""
        iterator = self.task.get_batch_iterator(
            self.dataset,
            max_sentences=batch_size,
            max_positions=max_positions(self.task, self.models),
            ignore_invalid_inputs=self.cfg.dataset.skip_invalid_size_inputs_valid_test,
            seed=self.cfg.common.seed,
            disable_iterator_cache=True,
        )
        batches = list(iterator.next_epoch_itr(shuffle=False))
        if self.sentences:  # evenly over all lengths
            wanted = max(1, self.sentences // batch_size)
            batches = batches[:: max(1, len(batches) // wanted)][:wanted]
        return [utils.move_to_cuda(batch) if self.use_cuda else batch for batch in batches]

    def decode(self, batch_size: int) -> dict:
        """One pass over the subset; batching is left out of the time."""
        batches = self.batches(batch_size)
        seed_everything(self.cfg)
        self.engine.translate(batches[0])  # packs weights, warms caches up
        self.engine.start()
        if self.use_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        else:
            forget_peak()
            before = resident_kib("VmRSS") * 1024
        found = []
        processor, started = time.process_time(), time.perf_counter()
        for batch in batches:
            found.append(self.engine.translate(batch))
        if self.use_cuda:
            torch.cuda.synchronize()
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        peak = torch.cuda.max_memory_allocated() if self.use_cuda else resident_kib("VmHWM") * 1024
        return {
            "seconds": seconds,
            "processor_seconds": processor,
            "encoder_seconds": self.engine.encoder_seconds,
            "memory_bytes": max(0, peak - before),
            **self.engine.work,
            **self.judge(batches, found),
        }

    def judge(self, batches: list, found: list) -> dict:
        """BLEU against the subset's own target side, as fairseq-generate scores it, and what was produced."""
        dictionary, post_process = self.task.target_dictionary, self.cfg.common_eval.post_process
        hypotheses, references, exits, tokens = [], [], [], 0
        for batch, translations in zip(batches, found):
            for target, translation in zip(batch["target"], translations):
                target = utils.strip_pad(target, dictionary.pad()).int().cpu()
                references.append(dictionary.string(target, post_process, escape_unk=True))
                hypotheses.append(dictionary.string(torch.tensor(translation.tokens).int(), post_process))
                tokens += len(translation.tokens) + 1
                exits.extend(translation.exits or ())
        return {
            "bleu": tokenised_bleu(hypotheses, references),
            "average_exit": sum(exits) / len(exits) if exits else None,
            "sentences": len(hypotheses),
            "tokens": tokens,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--sentences", type=int, default=0)
    parser.add_argument("--ctranslate2-model", type=Path)
    parser.add_argument("options", nargs="+", help="fairseq-generate's, behind --")
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no answer
    try:
        worker = Worker(parser.parse_args())
    except (ValueError, OSError) as error:  # wrong options: the sentence is enough
        sys.exit(str(error))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(worker.decode(int(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

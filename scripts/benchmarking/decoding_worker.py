"""A process that holds one engine and decodes a subset whenever it is told to.

Run by ``benchmark_decoding.py``, one process for each engine and number of threads, so that what one engine allocates is
not counted as another's. Reads a batch size a line, answers with a JSON object a line.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

import torch
from benchmarking.engines import CTRANSLATE2, STOCK, CTranslate2Engine, FairseqEngine, parse_engine
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from sacrebleu.metrics import BLEU

DECODE_DEFAULTS = ["--user-dir", "depth_adaptive_fairseq", "--remove-bpe", "sentencepiece", "--beam", "5"]


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
        utils.import_user_module(argparse.Namespace(user_dir="depth_adaptive_fairseq"))
        task_name = "translation" if name in (STOCK, CTRANSLATE2) else "depth_adaptive_translation"
        parser = options.get_generation_parser(default_task=task_name)
        words = [*DECODE_DEFAULTS, *arguments.options]
        self.cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words))
        self.task = tasks.setup_task(self.cfg.task)
        self.task.load_dataset(self.cfg.dataset.gen_subset)
        self.dataset = self.task.dataset(self.cfg.dataset.gen_subset)
        self.use_cuda = torch.cuda.is_available() and not self.cfg.common.cpu and name != CTRANSLATE2
        if name == CTRANSLATE2:
            self.engine = CTranslate2Engine(arguments.ctranslate2_model, self.task, self.cfg, precision, arguments.threads)
        else:
            paths = utils.split_paths(self.cfg.common_eval.path)
            models, _ = checkpoint_utils.load_model_ensemble(paths, task=self.task)
            for model in models:
                if self.cfg.common.fp16:
                    model.half()
                if self.cfg.common.bf16:
                    model.bfloat16()
                if self.use_cuda:
                    model.cuda()
                model.prepare_for_inference_(self.cfg)
            self.engine = FairseqEngine(self.task, models, self.cfg, name, precision)
        self.sentences = arguments.sentences

    def batches(self, batch_size: int) -> list:
        """Batches of *batch_size* sentences of similar length, in fairseq's order, ready to be decoded."""
        iterator = self.task.get_batch_iterator(
            self.dataset, max_sentences=batch_size, max_positions=None, seed=self.cfg.common.seed, disable_iterator_cache=True
        )
        batches = list(iterator.next_epoch_itr(shuffle=False))
        if self.sentences:  # evenly over all lengths
            wanted = max(1, self.sentences // batch_size)
            batches = batches[:: max(1, len(batches) // wanted)][:wanted]
        return [utils.move_to_cuda(batch) if self.use_cuda else batch for batch in batches]

    def decode(self, batch_size: int) -> dict:
        """One pass over the subset; batching is left out of the time."""
        batches = self.batches(batch_size)
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
            "bleu": BLEU(tokenize="none", force=True).corpus_score(hypotheses, [references]).score,
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

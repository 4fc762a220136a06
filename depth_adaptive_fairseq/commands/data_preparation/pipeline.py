"""The chain of steps from raw text to a binarised folder."""

import fcntl
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from . import binarization, bpe, cutting, output, sources, tokenization
from .errors import PreparationError
from .steps import Outcome, Step, WorkFolder
from .template import Template


def build_steps(template: Template, raw: Path | None, workers: int) -> list[Step]:
    """The steps in their order. Finds and verifies the raw files, or asks the generator for its fingerprint."""
    source = sources.make_source(template, raw)
    splits, languages = list(source.splits), template.languages.pair
    # the line limit is applied before tokenising, the other limits after it
    line_limit, length_limits = template.cut.lines, replace(template.cut, lines=None)

    obtain = Step(
        "obtain",
        {"source": source.settings(), "languages": languages},
        lambda folder, inputs: sources.obtain(folder, source),
    )
    tokenize = Step(
        "tokenize",
        {**asdict(template.tokenize), "lines": line_limit, "sacremoses": version("sacremoses")},
        lambda folder, inputs: tokenization.tokenize(
            folder, inputs["obtain"], splits, languages, template.tokenize, workers, line_limit
        ),
        (obtain,),
    )
    cut = Step(
        "cut",
        asdict(length_limits),
        lambda folder, inputs: cutting.cut_training_data(folder, inputs["tokenize"], languages, length_limits),
        (tokenize,),
    )
    learn_bpe = Step(
        "learn_bpe",
        {**asdict(template.bpe), "sentencepiece": version("sentencepiece")},
        lambda folder, inputs: bpe.learn(folder, inputs["cut"], languages, template.bpe.vocabulary_size),
        (cut,),
    )
    apply_bpe = Step(
        "apply_bpe",
        {},
        lambda folder, inputs: bpe.apply(
            folder,
            inputs["learn_bpe"],
            {
                f"{split}.{language}": inputs["cut" if split == "train" else "tokenize"] / f"{split}.{language}"
                for split in splits
                for language in languages
            },
        ),
        (tokenize, cut, learn_bpe),
    )
    binarize = Step(
        "binarize",
        {**asdict(template.binarize), "fairseq": version("fairseq")},
        lambda folder, inputs: binarization.binarize(
            folder, inputs["apply_bpe"], splits, template.languages, template.binarize, workers
        ),
        (apply_bpe,),
    )
    return [obtain, tokenize, cut, learn_bpe, apply_bpe, binarize]


@contextmanager
def locked(folder: Path):
    """Keeps a second run off the same work folder; the lock ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PreparationError(
                f"Another run is working in {folder}. Wait for it to end, or choose another --out."
            ) from None
        yield


def prepare(
    template: Template,
    raw: Path | None,
    out: Path,
    workers: int,
    clean: bool,
    announce: Callable[[Step, Outcome], None],
) -> tuple[dict, bool]:
    """Makes `out`, or leaves it if it is up to date. `announce` is told of every step.

    Returns the manifest, and whether `out` was up to date already.
    """
    out = Path(os.path.realpath(out))  # a link to a folder stays one
    if out.exists() and not out.is_dir():
        raise PreparationError(f"{out} exists and is not a folder; name a folder with --out.")
    work = WorkFolder(out.with_name(out.name + ".work"))
    with locked(work.path):
        work.remove_partial()
        steps = build_steps(template, raw, workers)
        key = Step("output", {"template": template.as_dict()}, output.assemble, tuple(steps)).key
        up_to_date = output.is_current(out, key)
        if not up_to_date:
            output.check_replaceable(out)
            outcomes = {}
            for step in steps:
                outcomes[step.name] = work.run(step)
                announce(step, outcomes[step.name])
            manifest = {
                "key": key,
                "template": template.as_dict(),
                "steps": [
                    {"name": step.name, "settings": step.settings, "counts": outcomes[step.name].report}
                    for step in steps
                ],
            }
            folders = {name: outcome.folder for name, outcome in outcomes.items()}
            assembled = output.assemble(work.path, folders, manifest)
            output.publish(assembled, out)
        # step by step, so that a work folder that is left half removed still holds whole steps only
        work.remove_all_but([] if clean else steps)
        if clean:
            shutil.rmtree(work.path)
    return output.read_manifest(out), up_to_date

"""The chain of commands/data_preparation in this process: crashes at every point, keys, sources, splits."""

import gzip
import lzma
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from depth_adaptive_fairseq.commands.data_preparation import binarization, pipeline, raw_text, sources
from depth_adaptive_fairseq.commands.data_preparation.errors import PreparationError
from depth_adaptive_fairseq.commands.data_preparation.output import read_manifest
from depth_adaptive_fairseq.commands.data_preparation.steps import Step, WorkFolder
from depth_adaptive_fairseq.commands.data_preparation.template import Template, from_mapping

MAPPING = {
    "name": "tiny",
    "languages": {"source": "de", "target": "en"},
    "source": {"kind": "files", "splits": {"train": "train", "valid": "valid", "test": "test"}},
    "bpe": {"vocabulary_size": 40},
}
LARGER = {"vocabulary_size": 150}
ORDER = ["obtain", "tokenize", "cut", "learn_bpe", "apply_bpe", "binarize"]


def template(**changes) -> Template:
    return from_mapping(Template, {**MAPPING, **changes}, "tiny.yaml")


@pytest.fixture
def raw(tmp_path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.de").write_text(f"Das ist ein Haus.\nHallo {split}!\n", encoding="utf-8")
        (folder / f"{split}.en").write_text(f"This is a house.\nHello {split}!\n", encoding="utf-8")
    return folder


@pytest.fixture
def quick_binarize(monkeypatch):
    """Stands in for fairseq-preprocess, which takes seconds: writes text where that writes binary files."""

    def write(folder, pieces, splits, languages, settings, workers):
        for path in pieces.glob("*.*"):
            shutil.copyfile(path, folder / f"{path.name}.bin")
        return {"dictionary": {"de": 1, "en": 1}, "unknown": {}}

    monkeypatch.setattr(binarization, "binarize", write)


def prepare(recipe: Template, raw: Path | None, out: Path, clean: bool = False) -> list[str]:
    """Returns the names of the steps that ran."""
    ran = []
    pipeline.prepare(recipe, raw, out, 1, clean, lambda step, outcome: outcome.skipped or ran.append(step.name))
    return ran


def content(folder: Path) -> dict[str, bytes] | None:
    if not folder.exists():
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Killed(BaseException):
    """Not an Exception, so that no handler can tidy up: as if the process were gone."""


def crash_points(monkeypatch, limit: int) -> list[str]:
    """Makes the `limit`-th change of the file system fail, before or after it is done; returns the list of changes."""
    changes = []

    def crashing(name, original):
        def change(*arguments, **options):
            changes.append(name)
            if len(changes) == limit:
                raise Killed(f"before {name}")
            result = original(*arguments, **options)
            changes.append(name)
            if len(changes) == limit:
                raise Killed(f"after {name}")
            return result

        return change

    for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "write_text"), (Path, "write_bytes"),
                        (shutil, "copyfile"), (shutil, "rmtree"), (raw_text, "write_lines")):  # fmt: skip
        monkeypatch.setattr(owner, name, crashing(name, getattr(owner, name)))
    return changes


@pytest.mark.parametrize("offset", range(1, 6))  # together they crash at every change
def test_a_crash_at_any_change_of_the_file_system_leaves_all_or_nothing(tmp_path, raw, quick_binarize, offset):
    """The folder is replaced by one of another template, so old, new and none are what may be seen."""
    old, new = template(), template(tokenize={"lowercase": True})
    prepare(old, raw, tmp_path / "old")
    prepare(new, raw, tmp_path / "new")
    complete = [None, content(tmp_path / "old"), content(tmp_path / "new")]
    assert complete[1] != complete[2]
    out = tmp_path / "out"
    seen, limit, finished = set(), offset, False
    while not finished:
        prepare(old, raw, out)
        with pytest.MonkeyPatch.context() as patch:
            crash_points(patch, limit)
            try:
                prepare(new, raw, out)
                finished = True
            except Killed:
                pass
        seen.add(complete.index(content(out)))  # ValueError if it is a mixture
        prepare(new, raw, out)
        assert content(out) == complete[2], f"after a crash at change {limit}"
        limit += 5
    assert limit > 60 and {1, 2} <= seen


@pytest.mark.parametrize("offset", range(1, 6))
def test_a_crash_while_preparing_for_the_first_time(tmp_path, raw, quick_binarize, offset):
    prepare(template(), raw, tmp_path / "whole")
    whole, out = content(tmp_path / "whole"), tmp_path / "out"
    for limit in range(offset, 1000, 5):
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(f"{out}.work", ignore_errors=True)
        with pytest.MonkeyPatch.context() as patch:
            changes = crash_points(patch, limit)
            try:
                prepare(template(), raw, out)
            except Killed:
                assert content(out) in (None, whole)
        prepare(template(), raw, out)
        assert content(out) == whole
        if len(changes) < limit:
            assert limit > 60
            return
    pytest.fail("never ran to the end")


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"languages": {"source": "en", "target": "de"}}, "obtain"),
        ({"tokenize": {"escape": False}}, "tokenize"),
        ({"cut": {"lines": 1}}, "tokenize"),
        ({"cut": {"max_tokens": 5}}, "cut"),
        ({"bpe": {"vocabulary_size": 41}}, "learn_bpe"),
        ({"binarize": {"joined_dictionary": False}}, "binarize"),
        ({"description": "other words"}, None),
    ],
)
def test_a_change_redoes_what_depends_on_it_and_nothing_else(tmp_path, raw, quick_binarize, changes, first):
    out = tmp_path / "out"
    assert prepare(template(), raw, out) == ORDER
    assert prepare(template(), raw, out) == []
    assert prepare(template(**changes), raw, out) == (ORDER[ORDER.index(first) :] if first else [])
    assert pipeline.output.read_manifest(out)["template"] == template(**changes).as_dict()


def test_clean_leaves_a_folder_that_needs_nothing(tmp_path, raw, quick_binarize):
    out = tmp_path / "out"
    prepare(template(), raw, out, clean=True)
    whole = content(out)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out", "raw"]
    assert prepare(template(), raw, out, clean=True) == []
    (out / "prepared.json").write_text("{broken")
    with pytest.raises(PreparationError, match="did not write"):
        prepare(template(), raw, out)
    shutil.rmtree(out)
    assert prepare(template(), raw, out) == ORDER
    assert content(out) == whole


def test_changed_text_redoes_everything(tmp_path, raw, quick_binarize):
    prepare(template(), raw, tmp_path / "out")
    (raw / "valid.de").write_text("Das ist neu.\nHallo!\n", encoding="utf-8")
    assert prepare(template(), raw, tmp_path / "out") == ORDER


def test_a_file_missing_from_the_output_comes_back(tmp_path, raw, quick_binarize):
    out = tmp_path / "out"
    prepare(template(), raw, out)
    whole = content(out)
    (out / "sentencepiece.bpe.model").unlink()
    assert prepare(template(), raw, out) == []
    assert content(out) == whole


@pytest.mark.parametrize(("suffix", "opener"), [(".gz", gzip.open), (".xz", lzma.open)])
@pytest.mark.parametrize("listed", ["packed", "unpacked"])
def test_packed_files_are_the_same_to_the_steps(tmp_path, raw, suffix, opener, listed):
    plain = [step.key for step in pipeline.build_steps(template(), raw, 1)]
    checksums = {path.name: raw_text.sha256(path) for path in raw.iterdir()}
    packed = tmp_path / "packed"
    packed.mkdir()
    for path in raw.iterdir():
        with opener(packed / (path.name + suffix), "wb") as stream:
            stream.write(path.read_bytes())
    if listed == "packed":
        checksums = {path.name: raw_text.sha256(path) for path in packed.iterdir()}
    recipe = template(source={**MAPPING["source"], "sha256": checksums})
    assert [step.key for step in pipeline.build_steps(recipe, packed, 1)] == plain
    broken = {name: "0" * 64 for name in checksums}
    with pytest.raises(PreparationError, match="wrong checksum"):
        pipeline.build_steps(template(source={**MAPPING["source"], "sha256": broken}), packed, 1)


def test_generated_corpus(tmp_path, quick_binarize):
    def generated(seed):
        arguments = {"seed": seed, "train": 80, "valid": 10, "test": 10}
        return template(source={"kind": "generated", "generator": "phrases", "arguments": arguments}, bpe=LARGER)

    out = tmp_path / "out"
    assert prepare(generated(3), None, out) == ORDER
    assert prepare(generated(3), None, out) == []
    first = (out / "raw" / "valid.de").read_text(encoding="utf-8")
    assert len(first.splitlines()) == 10
    assert prepare(generated(4), None, out) == ORDER
    assert (out / "raw" / "valid.de").read_text(encoding="utf-8") != first


def generated_by(arguments):
    return template(source={"kind": "generated", "generator": "phrases", "arguments": arguments}, bpe=LARGER)


def test_generator_that_fails_is_quoted(tmp_path, quick_binarize, monkeypatch):
    monkeypatch.setitem(sources.GENERATORS, "phrases", ("phrases.generate", {"train": (0, 0)}))
    with pytest.raises(PreparationError, match="(?s)phrases.generate failed: .*at least 1"):
        prepare(generated_by({"train": 0}), None, tmp_path / "out")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"out=/tmp/elsewhere --seed": 1}, "has the unknown key out=/tmp/elsewhere --seed; valid keys are seed, train, valid, test"),
        ({"out": 1}, "has the unknown key out;"),
        ({"show": 1}, "has the unknown key show;"),
        ({"seed=3 ": 1}, "has the unknown key seed=3 ;"),
        ({3: 1}, "has the unknown key 3;"),
        (["seed"], "must be a mapping with the keys seed, train, valid, test"),
        ({"seed": "1"}, "arguments.seed is '1'; a whole number is needed"),
        ({"seed": True}, "arguments.seed is True; a whole number is needed"),
        ({"train": 0}, "arguments.train is 0; it must be at least 1 and at most"),
        ({"train": 10**20}, "arguments.train is 1000.*; it must be at least 1 and at most 10000000"),
        ({"seed": 2**64}, "arguments.seed is 18446744073709551616; it must be at least"),
    ],
    ids=str,
)
def test_only_the_generators_own_arguments_are_taken(tmp_path, monkeypatch, arguments, message):
    """A key is an option of a command, so `out=...` would write elsewhere."""
    monkeypatch.setattr(sources.subprocess, "run", lambda *given, **options: pytest.fail("a command was run"))
    with pytest.raises(PreparationError, match=message):
        prepare(generated_by(arguments), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_to_a_folder_stays_one(tmp_path, raw, quick_binarize):
    for name in ("real", "work"):
        (tmp_path / name).mkdir()
    link = tmp_path / "work" / "out"
    link.symlink_to("../real/out")
    for seed in (1, 2):  # made, and replaced
        prepare(template(bpe={"vocabulary_size": 40 + seed}), raw, link)
        assert link.is_symlink() and os.listdir(tmp_path / "work") == ["out"]
        assert read_manifest(link)["template"]["bpe"]["vocabulary_size"] == 40 + seed


def test_what_is_no_folder_is_refused_at_once(tmp_path, raw):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("pipe")
    with pytest.raises(PreparationError, match="pipe exists and is not a folder; name a folder with --out"):
        prepare(template(), raw, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["out", "pipe", "raw"]


def test_further_test_sets_keep_their_numbers(tmp_path, raw, quick_binarize):
    for language in ("de", "en"):
        (raw / f"news.{language}").write_text("Berlin\n", encoding="utf-8")
    recipe = template(
        source={"kind": "files", "splits": {"test1": "news", "train": "train", "test": "test", "valid": "valid"}}
    )
    source = sources.make_source(recipe, raw)
    assert list(source.splits) == ["train", "valid", "test", "test1"]
    prepare(recipe, raw, tmp_path / "out")
    assert (tmp_path / "out" / "raw" / "test1.en").read_text() == "Berlin\n"


def test_a_step_that_fails_leaves_no_result(tmp_path):
    def fail(folder, inputs):
        (folder / "half").write_text("written")
        raise PreparationError("no")

    step = Step("failing", {}, fail)
    work = WorkFolder(tmp_path)
    with pytest.raises(PreparationError):
        work.run(step)
    assert not work.folder(step).exists()
    work.remove_partial()
    done = work.run(replace(step, run=lambda folder, inputs: {"lines": 3}))
    assert done.report == {"lines": 3} and not done.skipped
    assert work.run(step).skipped

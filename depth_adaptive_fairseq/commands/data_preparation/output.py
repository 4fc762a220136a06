"""The finished folder: what training and decoding need, with a manifest, published in one move."""

import json
import shutil
from pathlib import Path

from . import raw_text
from .bpe import MODEL
from .errors import PreparationError
from .steps import PARTIAL, remove

MANIFEST = "prepared.json"


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read_manifest(folder: Path) -> dict:
    """The manifest of a prepared folder; empty if it has none that can be read."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}


def is_current(folder: Path, key: str) -> bool:
    """Whether the folder was made with this key and still has all its files in their sizes."""
    manifest = read_manifest(folder)
    return manifest.get("key") == key and all(
        (folder / name).is_file() and (folder / name).stat().st_size == entry["bytes"]
        for name, entry in manifest["files"].items()
    )


def check_replaceable(folder: Path) -> None:
    """Raises PreparationError if `folder` holds anything that this command did not write: it would be lost."""
    if not folder.exists():
        return
    foreign = [
        name for name in files_below(folder) if name != MANIFEST and name not in read_manifest(folder).get("files", {})
    ]
    if foreign:
        raise PreparationError(
            f"{folder} has to be written anew, but holds files that this command did not write: {', '.join(foreign[:5])}"
            f"{' ...' if len(foreign) > 5 else ''}. Move them away or choose another folder with --out."
        )


def assemble(work: Path, steps: dict[str, Path], manifest: dict) -> Path:
    """Copies together the binarised data, the BPE model and, for evaluation, the raw and tokenised text.

    `steps` holds the folders of the steps by name. Returns a folder in `work` with a temporary name.
    """
    folder = work / f"output{PARTIAL}"
    folder.mkdir()
    for path in steps["binarize"].iterdir():
        if path.suffix in (".bin", ".idx", ".txt"):
            shutil.copyfile(path, folder / path.name)
    shutil.copyfile(steps["learn_bpe"] / MODEL, folder / MODEL)
    for kind, step in (("raw", "obtain"), ("tokenized", "tokenize")):
        (folder / kind).mkdir()
        for path in steps[step].iterdir():
            if path.name.startswith(("valid", "test")):
                shutil.copyfile(path, folder / kind / path.name)
    entries = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": raw_text.sha256(folder / name)}
        for name in files_below(folder)
    }
    manifest = {**manifest, "files": entries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def publish(assembled: Path, out: Path) -> None:
    """Moves the assembled folder to its place. Killed in between, there is no folder rather than half of one."""
    check_replaceable(out)
    if out.exists():
        previous = out.rename(assembled.with_name(f"previous{PARTIAL}"))
        assembled.rename(out)
        remove(previous)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        assembled.rename(out)

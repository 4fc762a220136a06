"""The tests' corpus as ``depth-adaptive prepare`` leaves it."""

import json
from pathlib import Path


def prepared_folder(data: Path, folder: Path) -> Path:
    """Make *folder* one that has the binarised *data* and its text."""
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).symlink_to(file)
    for name in ("raw", "tokenized"):  # nothing to tokenise in it
        (folder / name).symlink_to(data.parent / "raw")
    (folder / "prepared.json").write_text(json.dumps({"template": {"languages": {"source": "de", "target": "en"}}}))
    return folder


def with_references(folder: Path, subset: str, lines) -> None:
    """Replace the references of *subset*, raw and tokenised."""
    for name in ("raw", "tokenized"):
        before = (folder / name).resolve()
        (folder / name).unlink()
        (folder / name).mkdir()
        for file in before.iterdir():
            (folder / name / file.name).symlink_to(file)
        path = folder / name / f"{subset}.en"
        path.unlink()
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")

"""What the user sees: a line for every step, and at the end what was made and how to go on."""

from pathlib import Path

from tabulate import tabulate

from .steps import Outcome, Step


def announce(step: Step, outcome: Outcome) -> None:
    print(f"{step.name:<10} {'done before' if outcome.skipped else f'{outcome.seconds:.1f} s'}", flush=True)


def summary(manifest: dict, up_to_date: bool, out: Path) -> str:
    """Counts, sizes and licence from the manifest."""
    template = manifest["template"]
    source, target = template["languages"]["source"], template["languages"]["target"]
    counts = {step["name"]: step["counts"] for step in manifest["steps"]}
    cut, pieces, binarized = counts["cut"], counts["apply_bpe"], counts["binarize"]
    rows = []
    for split, lines in counts["obtain"].items():
        train = split == "train"
        tokens = cut["tokens"] if train else counts["tokenize"][split]
        row = [split, lines, cut["kept"] if train else lines]
        for language in (source, target):
            name = f"{split}.{language}"
            row += [tokens[language], pieces[name], binarized["unknown"][name]]
        rows.append(row)
    headers = ["", "lines", "kept"] + [
        f"{language} {what}" for language in (source, target) for what in ("tokens", "pieces", "unknown")
    ]
    dropped = ", ".join(f"{count} {reason}" for reason, count in cut["dropped"].items() if count)
    types = binarized["dictionary"]
    sizes = (
        f"{types[target]} types"
        if template["binarize"]["joined_dictionary"]
        else f"{types[source]} and {types[target]} types"
    )
    lines = [
        f"\n{out} {'was up to date' if up_to_date else 'is ready'}.",
        "",
        tabulate(rows, headers=headers, intfmt=","),
        "",
    ]
    lines += [f"left out of train: {dropped}"] if dropped else []
    lines += [f"dictionary: {sizes}; BPE model: {counts['learn_bpe']['vocabulary']} pieces"]
    lines += [f"licence: {template['licence']}"] if template["licence"] else []
    lines += [f"decode with: fairseq-generate {out} --path CHECKPOINT --remove-bpe sentencepiece"]
    return "\n".join(lines)

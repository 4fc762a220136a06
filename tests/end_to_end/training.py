"""The options of the small models that the end-to-end tests train, and how they are trained."""

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from tests.end_to_end.commands import PLUGIN, Finished, assert_ok

TASK = ("--task", "depth_adaptive_translation")
CRITERION = ("--criterion", "depth_adaptive_cross_entropy")
ADAPTIVE = (*PLUGIN, *TASK, *CRITERION, "--arch", "depth_adaptive_transformer_tiny")
STOCK = (*PLUGIN, "--task", "translation", "--arch", "transformer", "--criterion", "label_smoothed_cross_entropy")
SIZES = (
    "--encoder-layers", 1, "--encoder-embed-dim", 32, "--encoder-ffn-embed-dim", 32, "--encoder-attention-heads", 2,
    "--decoder-layers", 3, "--decoder-embed-dim", 32, "--decoder-ffn-embed-dim", 32, "--decoder-attention-heads", 2,
)  # fmt: skip
OPTIMIZATION = (
    "--optimizer", "adam", "--lr", 0.01, "--max-tokens", 600, "--seed", 1, "--num-workers", 0, "--log-format", "json",
)  # fmt: skip
# With penalties that leave some tokens or sentences for higher exits.
HALTING = {
    "geometric": ("--halting", "geometric", "--halting-per-block", "--exit-loss-weight", 1, "--oracle-penalty", 0.05),
    "multinomial": ("--halting", "multinomial", "--exit-loss-weight", 1, "--oracle-penalty", 0.02),
    "sequence": ("--halting", "sequence", "--exit-loss-weight", 1, "--oracle-penalty", 0.2),
}
# Entries of a configuration for an update that changes nothing.
AS_IT_IS = {"optimization__lr": [0.0], "lr_scheduler__lr": [0.0]}
# Entries for --restore-file to start a new training from old parameters.
RESET = dict(
    checkpoint__reset_optimizer=True, checkpoint__reset_lr_scheduler=True,
    checkpoint__reset_dataloader=True, checkpoint__reset_meters=True,
)  # fmt: skip


@dataclass
class Trained:
    """A finished training.

    Attributes:
        folder: the folder of its checkpoints.
        log: what the command printed.
        checkpoint: the last checkpoint.
    """

    folder: Path
    log: Finished

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint_last.pt"


def train(server, build_once, name: str, data: Path, *options) -> Trained:
    """Train a model, once for all processes of a test run; its folder has this *name*, and a number of its options."""

    def build(folder: Path) -> None:
        done = assert_ok(server.run("fairseq-train", data, *options, "--save-dir", folder, cwd=folder))
        (folder / "log").write_text(done.output, encoding="utf-8")

    folder = build_once(f"{name}-{crc32(repr([str(each) for each in options]).encode()):08x}", build)
    return Trained(folder, Finished(0, (folder / "log").read_text(encoding="utf-8"), ""))

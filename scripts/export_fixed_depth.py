#!/usr/bin/env python
"""Write one exit of a depth-adaptive model as a checkpoint of fairseq's own transformer.

    python scripts/export_fixed_depth.py checkpoints/checkpoint_best.pt --exit-at 2 --out exit2.pt
    fairseq-generate data-bin/multi30k.de-en --path exit2.pt --beam 5

The result holds the encoder, the first n decoder blocks and exit n's classifier. It translates as
`--exit-policy fixed --exit-at n` does, without this plugin's --user-dir, and other programs that read fairseq's
transformers take it, such as CTranslate2's converter. It holds no optimiser state.
"""

import argparse
import sys
from pathlib import Path

from checkpoint_files.fixed_depth import to_fixed_depth
from checkpoint_files.writing import write_checkpoint
from fairseq import checkpoint_utils


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a depth-adaptive transformer")
    parser.add_argument(
        "--exit-at", type=int, required=True, metavar="N", help="the exit to keep, from 1 to the number of decoder blocks"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    arguments = parser.parse_args()
    try:
        if not arguments.checkpoint.is_file():
            raise ValueError(f"{arguments.checkpoint} is not a file: give a checkpoint")
        if arguments.out.exists() and arguments.out.samefile(arguments.checkpoint):
            raise ValueError(f"--out {arguments.out} is the checkpoint itself: give another name")
        state = checkpoint_utils.load_checkpoint_to_cpu(str(arguments.checkpoint))
        exported = to_fixed_depth(state, arguments.exit_at)
        write_checkpoint(exported, arguments.out)
    except ValueError as error:
        sys.exit(f"error: {error}")
    parameters = sum(tensor.numel() for tensor in exported["model"].values())
    print(f"wrote exit {arguments.exit_at} to {arguments.out}: {parameters / 1e6:.2f} million parameters")


if __name__ == "__main__":
    main()

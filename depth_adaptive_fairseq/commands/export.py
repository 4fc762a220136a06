"""Write one exit of a depth-adaptive model as a checkpoint of fairseq's own transformer.

    depth-adaptive export checkpoints/checkpoint_best.pt --exit-at 2 --out exit2.pt
    fairseq-generate data-bin/multi30k.de-en --path exit2.pt --beam 5

The result holds the encoder, the first n decoder blocks and exit n's classifier. It translates as
`--exit-policy fixed --exit-at n` does, without this plugin's --user-dir, and other programs that read fairseq's
transformers take it, such as CTranslate2's converter. It holds no optimiser state.
"""

from pathlib import Path
from typing import Sequence

from fairseq import checkpoint_utils

from depth_adaptive_fairseq.commands import command_parser
from depth_adaptive_fairseq.commands.checkpoint_files.fixed_depth import to_fixed_depth
from depth_adaptive_fairseq.commands.checkpoint_files.writing import write_checkpoint


def main(arguments: Sequence[str]) -> None:
    parser = command_parser("export", __doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a depth-adaptive transformer")
    parser.add_argument(
        "--exit-at", type=int, required=True, metavar="N", help="the exit to keep, from 1 to the number of decoder blocks"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="checkpoint to write")
    args = parser.parse_args(arguments)
    if not args.checkpoint.is_file():
        raise ValueError(f"{args.checkpoint} is not a file: give a checkpoint")
    if args.out.exists() and args.out.samefile(args.checkpoint):
        raise ValueError(f"--out {args.out} is the checkpoint itself: give another name")
    exported = to_fixed_depth(checkpoint_utils.load_checkpoint_to_cpu(str(args.checkpoint)), args.exit_at)
    write_checkpoint(exported, args.out)
    parameters = sum(tensor.numel() for tensor in exported["model"].values())
    print(f"wrote exit {args.exit_at} to {args.out}: {parameters / 1e6:.2f} million parameters")

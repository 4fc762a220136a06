"""``fairseq-score --sacrebleu`` and ``--sentence-bleu`` end in a TypeError, and an empty translation in a ZeroDivisionError.

Concerns: fairseq 0.12.2 with sacreBLEU >= 2, which takes lists of lines and no open files; its own BLEU class, which has taken a
configuration since 0.12 where ``fairseq-score --sentence-bleu`` gives numbers; and its chrF class, whose ``score`` fails. Without mend
fairseq-score also compares files of unequal length, as far as the shorter goes, splits lines where Unicode does, and ignores ``--order`` and
``--ignore-case`` with ``--sacrebleu``.
No longer needed when: ``fairseq-score --sacrebleu`` prints what the command ``sacrebleu`` does.
"""

import functools
import io
import sys

from .user_errors import user_error

MODULES = ("fairseq.scoring.bleu", "fairseq.scoring.chrf", "fairseq_cli.score")


def after(module):
    {
        "fairseq.scoring.bleu": _mend_bleu,
        "fairseq.scoring.chrf": _mend_chrf,
        "fairseq_cli.score": _mend_command,
    }[module.__name__](module)


def _mend_bleu(module):
    scorer = module.Scorer
    build, brevity, result_string = scorer.__init__, scorer.brevity, scorer.result_string

    @functools.wraps(build)
    def __init__(self, cfg, eos=None, unk=None):
        build(self, cfg if eos is None else module.BleuConfig(pad=cfg, eos=eos, unk=unk))

    @functools.wraps(brevity)
    def mended_brevity(self):
        return brevity(self) if self.stat.predlen else 0.0

    @functools.wraps(result_string)
    def mended_result_string(self, order=4):
        if self.stat.reflen:
            return result_string(self, order)
        precisions = "/".join(["0.0"] * order)
        return f"BLEU{order} = 0.00, {precisions} (BP={self.brevity():.3f}, ratio=inf, syslen={self.stat.predlen}, reflen=0)"

    scorer.__init__, scorer.brevity, scorer.result_string = __init__, mended_brevity, mended_result_string


def _mend_chrf(module):
    def score(self, order=4):
        if order != 4:
            raise NotImplementedError
        return self.sacrebleu.corpus_chrf(self.pred, [self.ref]).score

    module.ChrFScorer.score = score


def _mend_command(module):
    original = module.cli_main

    @functools.wraps(original)
    def cli_main():
        args = module.get_parser().parse_args()
        _check(args)
        system, references = _read(args.sys, "--sys"), _read(args.ref, "--ref")
        if len(system) != len(references):
            raise user_error(
                f"--sys {args.sys} has {len(system)} lines and --ref {args.ref} has {len(references)}: give files of equally many, for "
                "each line is compared with the one beside it"
            )
        if args.sacrebleu:
            import sacrebleu

            print(args)
            print(sacrebleu.corpus_bleu(system, [references], lowercase=args.ignore_case).format())
            return
        files = {args.sys: system, args.ref: references}
        stdin = sys.stdin
        sys.stdin = _file(system)
        module.open = lambda path, *mode: _file(files[path])  # a global of that name hides the built-in function
        try:
            original()
        finally:
            sys.stdin = stdin
            del module.open

    module.cli_main = cli_main


def _check(args):
    if args.sacrebleu and args.sentence_bleu:
        raise user_error("--sacrebleu and --sentence-bleu were given: choose one of them")
    if not 1 <= args.order <= 4:
        raise user_error(f"--order {args.order} was given; it must be 1 to 4")
    if args.sacrebleu and args.order != 4:
        raise user_error(f"--order {args.order} was given with --sacrebleu, whose order is 4: leave one of them out")


def _file(lines):
    return io.StringIO("".join(f"{line}\n" for line in lines))


def _read(path, option):
    """The lines of a file of UTF-8; they end at line feeds only."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
        lines = content.decode("utf-8").split("\n")
    except OSError as error:
        raise user_error(f"{option}: cannot read {path}: {error.strerror}", OSError) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise user_error(f"{option}: line {line} of {path} is not UTF-8: convert the file to UTF-8") from error
    return lines[:-1] if lines[-1] == "" else lines

"""What can be run beside fairseq's own commands: ``python -m depth_adaptive_fairseq VERB``, also as ``depth-adaptive VERB``.

A verb is a module of that name with a function ``main(arguments)``, which returns an exit status or None. It is imported when it is
asked for. Errors that are for the user to solve come out of it as a ValueError or an OSError, and are shown here.
"""

import argparse
import os
import sys
from importlib import import_module
from typing import Optional, Sequence

from depth_adaptive_fairseq.compat.user_errors import sentence, traceback_wanted

VERBS = {
    "prepare": "make a binarised data folder from a template",
    "evaluate": "translate a subset with several exit policies: BLEU, average exit, FLOPs, speed",
    "tune": "find thresholds of the policies confidence and geometric",
    "benchmark": "time decoding: this plugin, stock fairseq and CTranslate2 side by side",
    "benchmark-training": "time and memory of a training step beside stock fairseq's",
    "profile": "show where the time of decoding goes, by part",
    "export": "write one exit as a checkpoint of fairseq's own transformer",
    "average": "average the parameters of several checkpoints",
    "plot": "plot BLEU over average exit and FLOPs",
    "view": "show translations with every token's exit, as a web page",
    "grid": "train and evaluate what a recipe's grid.yaml lists, and write its RESULTS.md",
    "options": "list the options that this plugin adds to fairseq's commands",
    "merge": "merge the exit logs of shards",
    "table": "print a file of results as a Markdown table",
}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a verb with its *arguments*, by default those of the command line; returns the exit status."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb not in (*VERBS, "-h", "--help"):
        return fail("", f"'{verb}' was given; the verbs are {', '.join(VERBS)}")
    try:
        if verb in VERBS:
            status = import_module(f"{__name__}.{verb.replace('-', '_')}").main(rest)
        else:
            status = print(listing())
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:  # whoever read the output has gone; the null device spares Python's complaint at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if traceback_wanted() or not error.name or error.name.startswith(__package__.partition(".")[0]):
            raise
        return fail(verb, f"{error.name} is not installed: scripts/setup.sh installs all that the commands need, or give it to pip")
    except (ValueError, OSError) as error:
        if traceback_wanted():
            raise
        strange = isinstance(error, OSError) and error.filename and error.strerror
        return fail(verb, f"{error.filename}: {error.strerror}" if strange else sentence(error))


def listing() -> str:
    """All verbs, one line each."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join([f"usage: {program()} VERB ...", "", *lines, "", f"{program('VERB')} --help shows the options of a verb."])


def program(verb: str = "") -> str:
    """How the user calls *verb*."""
    script = os.path.basename(sys.argv[0]).partition(".")[0] == "depth-adaptive"
    return f"{'depth-adaptive' if script else 'python -m depth_adaptive_fairseq'} {verb}".rstrip()


def command_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """A parser for the options of *verb*; its *description* is shown as it is."""
    return argparse.ArgumentParser(program(verb), description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def fail(verb: str, message: str) -> int:
    """Say what is wrong, as argparse does; returns the exit status."""
    print(f"{program(verb)}: error: {message}", file=sys.stderr)
    return 1

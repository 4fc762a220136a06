"""What fairseq-train's log says of a training, which may have been interrupted and gone on."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Dict

from .grid import GridError, Training

LOG = "train.log"
_TIME = "%Y-%m-%d %H:%M:%S"
_TIMED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| ")
_START = "| grid | start"
_VALIDATION = re.compile(r"\| valid \| (\{.*\})$", re.MULTILINE)  # by --log-format json, which a training is always given
_CONFIGURATION = "| fairseq_cli.train | {'_name'"  # the first thing that fairseq-train logs


def start_line() -> str:
    """A line for the log, written before fairseq-train starts: from here on its seconds count."""
    return f"{datetime.now().strftime(_TIME)} | INFO {_START}\n"


def read_log(training: Training, folder: Path) -> Dict[str, object]:
    """The last validation's numbers, the size of the model, and the seconds of all runs together.

    Raises:
        GridError: there is no log in *folder*, or it has no validation.
    """
    path = folder / LOG
    log = path.read_text(encoding="utf-8") if path.exists() else ""
    validations = _VALIDATION.findall(log)
    if not validations:
        problem = f"{path} has no validation, so nothing is known of '{training.name}'"
        raise GridError(f"{problem}: delete {folder} to train it again")

    last = json.loads(validations[-1])
    parameters = re.search(r"num\. shared model params: ([\d,]+)", log)
    return {
        "updates": last["valid_num_updates"],
        "parameters": parameters.group(1).replace(",", "") if parameters else "",
        "seconds": seconds_of_runs(log),
        "valid_nll": last["valid_nll_loss"],
        **{name: last.get(f"valid_{name}", "") for name in ("oracle_exit", "predicted_exit", "exit_agreement")},
    }


def seconds_of_runs(log: str) -> int:
    """From the first to the last time in the log, without the gaps between an interruption and the next run.

    The log is asked and not a clock, because a run that is killed has no chance to write down how long it took.
    """
    seconds, begun, last, configured = 0.0, None, None, False
    for line in log.splitlines():
        found = _TIMED.match(line)
        if found is None:
            continue
        now = datetime.strptime(found.group(1), _TIME)
        configuration = _CONFIGURATION in line
        # A run opens with both lines, or with fairseq's alone where the log is older than the first kind.
        if begun is None or _START in line or (configuration and configured):
            seconds += (last - begun).total_seconds() if begun else 0
            begun, configured = now, False
        configured, last = configured or configuration, now
    return round(seconds + (last - begun).total_seconds()) if begun else 0

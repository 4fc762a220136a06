"""The paper's findings, each held against the grid's numbers.

A finding is a claim about shape. The sentence that answers it gives the numbers it rests on, so that nobody has to take
the verdict on trust; what is smaller than the noise of single runs gets a verdict of its own.
"""

from .exit_findings import EXIT_FINDINGS
from .measurements import Measurements
from .training_findings import TRAINING_FINDINGS
from .verdicts import NOT_MEASURED

FINDINGS = {**TRAINING_FINDINGS, **EXIT_FINDINGS}


def answer_findings(measurements: Measurements) -> str:
    """A Markdown list: each finding, whether it is reproduced in shape, and why."""
    lines = []
    for claim, check in FINDINGS.items():
        answer = check(measurements)
        verdict, numbers = (NOT_MEASURED, "") if answer is None else answer
        lines.append(f"- {claim}: **{verdict}**. {numbers}".rstrip())
    return "\n".join(lines)

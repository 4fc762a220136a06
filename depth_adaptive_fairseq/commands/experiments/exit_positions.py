"""Where in a sentence its tokens leave, and how sure the model is of them: the paper's Figures 8 and 9 as a small CSV.

An exit log has a line for every token of a subset. What is kept of it is a row for every tenth of the sentence and a row for
every exit, each with the number of tokens, their mean exit and the mean probability of what was chosen.
"""

import math
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

from depth_adaptive_fairseq.commands.shared.exit_log import read_exit_records
from depth_adaptive_fairseq.commands.shared.tables import read_table, write_table

COLUMNS = ("training", "subset", "policy", "by", "value", "tokens", "mean_exit", "mean_probability")
TENTHS = 10


class Token(NamedTuple):
    """One token of a translation.

    Attributes:
        tenth: of the sentence, 1 to 10, by the token's place among its tokens, end of sentence included.
        exit: where it left, from 1.
        probability: that the exit's classifier gave it.
    """

    tenth: int
    exit: int
    probability: float


def read_exit_log(path: Path) -> List[Token]:
    """The tokens of an exit log.

    Raises:
        ValueError: the file is not an exit log.
    """
    tokens = []
    for exits, scores in read_exit_records(path, "exits", "scores"):
        for place, (exit_index, score) in enumerate(zip(exits, scores)):
            tokens.append(Token(1 + TENTHS * place // len(exits), exit_index, math.exp(score)))
    return tokens


def summarise(tokens: Sequence[Token]) -> List[Dict[str, object]]:
    """Rows without their first three columns; tenths and exits that no token has are left out."""
    groups: Dict[Tuple[str, int], List[Token]] = {}
    for token in tokens:
        groups.setdefault(("tenth", token.tenth), []).append(token)
        groups.setdefault(("exit", token.exit), []).append(token)
    rows = []
    for (kind, value), members in sorted(groups.items(), key=lambda group: (group[0][0] == "exit", group[0][1])):
        mean_exit = sum(token.exit for token in members) / len(members)
        mean_probability = sum(token.probability for token in members) / len(members)
        means = {"mean_exit": round(mean_exit, 4), "mean_probability": round(mean_probability, 4)}
        rows.append({"by": kind, "value": value, "tokens": len(members), **means})
    return rows


def add_positions(path: Path, training: str, subset: str, policy: str, summary: Sequence[Dict[str, object]]) -> None:
    """Add the rows of one decoding, replacing those of an earlier one; the file is renamed into place."""
    key = {"training": training, "subset": subset, "policy": policy}
    kept = [row for row in read_table(path) if any(row[name] != value for name, value in key.items())]
    write_table(path, COLUMNS, [*kept, *({**key, **row} for row in summary)])


def drop_positions(path: Path, training: str) -> None:
    """Take out the rows of *training*."""
    rows = read_table(path)
    kept = [row for row in rows if row["training"] != training]
    if len(kept) != len(rows):
        write_table(path, COLUMNS, kept)

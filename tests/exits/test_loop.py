"""The loop over a stack of blocks, against one row after the other."""

from typing import List

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from depth_adaptive_fairseq.exits.loop import BlockOutput, run_exits
from depth_adaptive_fairseq.exits.policy import Comparison, ExitRule, Policy, Statistic
from depth_adaptive_fairseq.exits.registry import POLICIES
from tests.generation.strategies import deterministic

WIDTH = 3


class Stack:
    """Blocks that add their number to a state, whatever its shape; it notes what ran and who left."""

    def __init__(self, members=1):
        self.members = members
        self.ran: List[tuple] = []
        self.left: List[tuple] = []

    def run_block(self, exit_index, hidden, rows):
        assert len(hidden) == self.members
        self.ran.append((exit_index, None if rows is None else rows.tolist(), hidden[0].size(0)))
        return [each + exit_index for each in hidden]

    def output(self, exit_index, hidden):
        return BlockOutput(exit_index, [each.flatten(1)[:, :WIDTH] for each in hidden], [lambda states: 2 * states] * self.members)

    def leave(self, output, rows):
        self.left.append((output.exit_index, None if rows is None else rows.tolist()))


def rule_of(statistic, num_exits, comparison=Comparison.ABOVE, thresholds=None):
    policy = Policy(
        "test", "", lambda *sizes: 0, statistic=statistic, comparison=comparison,
        thresholds=lambda value, n: [0.0] * (n - 1) if thresholds is None else thresholds,
    )  # fmt: skip
    return ExitRule(policy, num_exits)


@deterministic(60)
@given(
    exits=st.lists(st.integers(1, 4), min_size=1, max_size=7), members=st.integers(1, 2), shape=st.sampled_from([(), (2,)]),
    known=st.booleans(),
)  # fmt: skip
def test_each_row_runs_up_to_its_exit(exits, members, shape, known):
    """By exits that are known, and by a statistic that tells the same; rows are packed, in their order."""
    stack, num_exits = Stack(members), 4
    start = torch.arange(len(exits), dtype=torch.float32).view(-1, *[1] * len(shape), 1).expand(-1, *shape, WIDTH)
    # A state is its row's number plus 1 + 2 + .. + n, which tells the row again.
    wanted = torch.tensor(exits)

    def statistic(block, before):
        row = (block.hidden[0][:, 0] - sum(range(1, block.exit_index + 1))).long()
        return (wanted[row] <= block.exit_index).float() - 0.5, None

    rule = rule_of(Statistic("told", statistic), num_exits)
    groups = run_exits(stack, rule, [start] * members, len(exits), np.array(exits) if known else None)

    assert [group.exit_index for group in groups] == sorted(set(exits))
    found = {}
    for group in groups:
        rows = range(len(exits)) if group.rows is None else group.rows.tolist()
        assert (group.rows is None) == (len(set(exits)) == 1)
        for row, state in zip(rows, group.output.hidden[-1]):
            found[row] = (group.exit_index, state.tolist())
    assert found == {row: (n, [row + sum(range(1, n + 1))] * WIDTH) for row, n in enumerate(exits)}
    for exit_index, rows, count in stack.ran:
        running = [row for row, n in enumerate(exits) if n >= exit_index]
        assert count == len(running) and rows == (None if len(running) == len(exits) else running)
    assert len(stack.ran) == max(exits)
    assert stack.left == [(group.exit_index, None if group.rows is None else group.rows.tolist()) for group in groups]


@pytest.mark.parametrize("comparison, leaves", [(">", [3]), ("<", [1]), (">=", [2, 3]), ("<=", [1, 2])])
def test_comparisons_with_a_threshold(comparison, leaves):
    values = torch.tensor([1.0, 2.0, 3.0, torch.nan])
    rule = rule_of(Statistic("given", lambda block, before: (values[: block.rows], None)), 2, Comparison(comparison), [2.0])
    groups = run_exits(Stack(), rule, [torch.zeros(4, WIDTH)], 4)
    assert [row + 1 for row in groups[0].rows] == leaves, "what is not a number never leaves"


def test_what_is_remembered_stays_with_its_row():
    def statistic(block, before):
        count = torch.ones(block.rows) if before is None else before[0] + 1
        rows = block.hidden[0][:, 0] - sum(range(1, block.exit_index + 1))
        return torch.where(rows + 1 <= count, 1.0, -1.0), [count, rows]

    groups = run_exits(Stack(), rule_of(Statistic("counted", statistic), 4), [torch.arange(3.0)[:, None].repeat(1, WIDTH)], 3)
    assert [(group.exit_index, group.rows.tolist()) for group in groups] == [(1, [0]), (2, [1]), (3, [2])]


@pytest.mark.parametrize("answer", [np.bool_, bool], ids=["numpy", "python"])
def test_one_row(answer):
    """A decision about a single row is as good as one about many, whatever kind of truth it is."""
    rule = rule_of(Statistic("one", lambda block, before: (torch.tensor([float(answer(block.exit_index == 2))]), None)), 3)
    [group] = run_exits(Stack(), rule, [torch.zeros(1, WIDTH)], 1)
    assert group.exit_index == 2 and group.rows is None


def test_the_last_exit_asks_nobody():
    rule = rule_of(Statistic("never asked", lambda block, before: 1 / 0), 1)
    [group] = run_exits(Stack(), rule, [torch.zeros(2, WIDTH)], 2)
    assert group.exit_index == 1


def test_logits_are_computed_once_and_follow_the_rows():
    calls = []

    def classify(states):
        calls.append(len(states))
        return 2 * states

    output = BlockOutput(1, [torch.arange(6.0).view(3, 2)], [classify], on_classified=calls.append)
    assert not output.has_logits
    assert output.logits()[0].tolist() == output.logits()[0].tolist() and calls == [3, 3]
    assert output.select(torch.tensor([2])).logits()[0].tolist() == [[8.0, 10.0]] and calls == [3, 3]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=lambda policy: policy.name)
def test_entries_of_the_registry(policy):
    """Each decides in one way, and says what deciding costs."""
    assert (policy.known_exits is None) != (policy.statistic is None)
    assert policy.meaning and callable(policy.decision_flops)


def test_a_policy_decides_in_one_way():
    with pytest.raises(TypeError, match="either exits that are known or a statistic"):
        Policy("both", "", lambda *sizes: 0)

"""fairseq-generate in shards: each translates its share, and together they are the undivided run."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from depth_adaptive_fairseq.commands import merge
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.compat.processes import assert_one_sentence
from tests.compat.processes import run as process
from tests.end_to_end.commands import PLUGIN, assert_ok
from tests.end_to_end.exit_reports import read_log
from tests.end_to_end.training import TASK

SHARDS = 3
POLICY = dict(task__exit_policy="confidence", task__exit_thresholds="0.7")


def shard(number, of=SHARDS):
    return dict(dataset__num_shards=of, dataset__shard_id=number)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_shards_are_parts_of_the_whole(decode, trained, tmp_path, capsys, batch_size):
    """A third each, nothing twice, nothing left out, whether there are many batches or one."""
    entries = dict(POLICY, dataset__batch_size=batch_size)
    whole = decode(trained.checkpoint, task__exit_log="whole.jsonl", **entries)
    parts = [decode(trained.checkpoint, task__exit_log=f"{i}.jsonl", **entries, **shard(i)) for i in range(SHARDS)]
    sizes = [len(part.hypotheses()) for part in parts]
    assert sorted(sizes) == [5, 5, 6] and len(whole.hypotheses()) == 16
    together = {i: hypotheses for part in parts for i, hypotheses in part.hypotheses().items()}
    assert together == whole.hypotheses()

    merge.main([*(f"{i}.jsonl" for i in range(SHARDS)), "--exit-log", "merged.jsonl"])
    said = capsys.readouterr()
    (summary,) = re.findall(r"exit policy .*", whole.output)
    assert said.out == f"16 sentences | {summary}\n" and not said.err
    merged, expected = read_log(tmp_path / "merged.jsonl"), read_log(tmp_path / "whole.jsonl")
    assert list(merged) == list(range(16))
    for i, record in merged.items():
        assert record["scores"] == pytest.approx(expected[i]["scores"], abs=1e-5)
        assert {**record, "scores": 0} == {**expected[i], "scores": 0}


def test_fairseqs_own_task_and_generator(decode_stock, trained):
    found = [set(decode_stock(trained.checkpoint, **shard(i)).hypotheses()) for i in range(SHARDS)]
    assert sorted(map(len, found)) == [5, 5, 6]
    assert set.union(*found) == set(range(16))


def test_bleu_of_the_whole_by_the_commands_of_the_readme(decode, run, trained, tmp_path):
    whole = decode(trained.checkpoint, **POLICY)
    for i in range(SHARDS):
        (tmp_path / f"shard{i}.txt").write_text(decode(trained.checkpoint, **POLICY, **shard(i)).stdout, encoding="utf-8")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (cat shard.*)$", readme, re.MULTILINE)
    assert len(commands) == 2
    subprocess.run(["bash", "-c", "\n".join(commands)], cwd=tmp_path, check=True)
    scored = assert_ok(run("fairseq-score", "--sys", "translations", "--ref", "references"))
    (expected,) = re.findall(r"BLEU4 = .*", whole.stdout)
    assert expected in scored.stdout


def test_the_command(run, data, trained, tmp_path):
    """As it is typed; as many shards as sentences."""
    command = ("fairseq-generate", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--num-workers", 0, "--num-shards", 16)
    done = assert_ok(run(*command, "--shard-id", 15, "--exit-log", "last.jsonl"))
    assert len(done.hypotheses()) == 1
    merge.main([str(tmp_path / "last.jsonl")])


@pytest.mark.parametrize("entries, said", [
    (shard(3), "--shard-id 3 was given with --num-shards 3"),
    (shard(-1), "--shard-id -1 was given with --num-shards 3"),
    (shard(0, of=0), "--shard-id 0 was given with --num-shards 0"),
    (shard(0, of=17), "--num-shards 17 was given for 16 sentences"),
])  # fmt: skip
def test_shards_that_there_are_not(decode, trained, tmp_path, entries, said):
    with pytest.raises(ValueError, match=said) as raised:
        decode(trained.checkpoint, task__exit_log="exits.jsonl", **entries)
    assert raised.value.is_user_error
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_divided(converse, train_briefly, trained):
    for command, name in ((lambda **more: converse(trained.checkpoint, ["a"], **more), "interactive"), (train_briefly, "train")):
        with pytest.raises(ValueError, match=f"which fairseq-{name} does not have"):
            command(**shard(1))


def record(identity, **more):
    exits = more.pop("exits", [1, 2])
    usual = dict(tokens=["a", "</s>"], scores=[-0.5, -0.5], average_exit=1.5, policy="uniform", num_exits=3)
    return {"id": identity, "exits": exits, **usual, "flops": 6, "full_depth_flops": 9, **more}


def write(path, *records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return str(path)


@pytest.mark.parametrize("others, said", [
    ([record(0)], "sentence 0, and .*first.* has it as well"),
    ([record(1, policy="margin")], "whose policy is .*uniform in .*first.*, margin in .*second"),
    ([record(1, num_exits=6)], "whose num_exits is 3 in .*, 6 in .*second"),
    ([{"id": 1, "exits": [1]}], "second.* has a line without id, exits, policy"),
    ([[1]], "second.* has a line without"),
    ([record(1, exits=["a"])], "second.* has a line without"),
])  # fmt: skip
def test_logs_that_do_not_go_together(tmp_path, others, said):
    logs = [write(tmp_path / "first", record(0)), write(tmp_path / "second", *others)]
    with pytest.raises(DepthAdaptiveError, match=said):
        merge.main([*logs, "--exit-log", str(tmp_path / "merged")])
    assert not (tmp_path / "merged").exists()


def test_logs_that_cannot_be_read(tmp_path):
    (tmp_path / "other").write_bytes(b"\xff{")
    for name, reason in (("missing", "No such file"), ("other", "codec can't decode")):
        with pytest.raises(DepthAdaptiveError, match=f"{name} cannot be read as an exit log .*{reason}"):
            merge.main([str(tmp_path / name)])
    (tmp_path / "empty").touch()
    with pytest.raises(DepthAdaptiveError, match="no sentence is in"):
        merge.main([str(tmp_path / "empty")])
    done = process("depth-adaptive", "merge", "missing")
    assert_one_sentence(done, "missing cannot be read")


def test_sentences_that_are_missing_are_told(tmp_path, capsys):
    merge.main([write(tmp_path / "first", record(4, exits=[3]), record(1))])
    said = capsys.readouterr()
    assert "2 sentences | exit policy uniform | average exit 2.000 of 3 | decoder FLOPs per token 4 (66.7%" in said.out
    assert "3 sentences before the last have no record" in said.err

"""Sentences that fit into no batch are named, and data without sentences or references are refused."""

import numpy
import pytest
import torch
from fairseq.data import Dictionary, LanguagePairDataset, data_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq_cli import generate


def pairs(lengths, references=True):
    sides = [[torch.full((length,), 4) for length in lengths], numpy.array(lengths), Dictionary()]
    return LanguagePairDataset(*sides, *(sides if references else ()))


@pytest.fixture
def task():
    return TranslationTask(TranslationConfig(), Dictionary(), Dictionary())


def refused(function, *arguments, **options):
    with pytest.raises(Exception) as raised:
        function(*arguments, **options)
    assert raised.value.is_user_error
    return str(raised.value)


def test_a_sentence_longer_than_a_batch(task):
    said = refused(task.get_batch_iterator, pairs([3, 9, 5]), max_tokens=7)
    assert "sentence 1 " in said and "9 tokens" in said and "--max-tokens 7" in said
    assert len(task.get_batch_iterator(pairs([3, 9, 5]), max_tokens=9).frozen_batches) == 3


def test_lengths_that_are_asked_for_one_by_one():
    said = refused(data_utils.batch_by_size, numpy.arange(3), lambda index: [3, 5, 9][index], max_tokens=7)
    assert "sentence 2 " in said and "9 tokens" in said


@pytest.mark.parametrize("options", [dict(max_tokens=0), dict(max_tokens=-1), dict(max_sentences=0), dict(max_sentences=-4)])
def test_sizes_without_room(task, options):
    assert "it must be 1 or more" in refused(task.get_batch_iterator, pairs([3]), **options)


def test_a_negative_number_of_workers(task):
    assert "--num-workers -1" in refused(task.get_batch_iterator, pairs([3]), num_workers=-1)


def test_a_sentence_longer_than_the_positions(task):
    said = refused(task.get_batch_iterator, pairs([3, 9, 5]), max_tokens=20, max_positions=(7, 8))
    assert "number 1, has (9, 9)" in said and "--skip-invalid-size-inputs-valid-test" in said
    batches = task.get_batch_iterator(pairs([3, 9, 5]), max_tokens=20, max_positions=(7, 8), ignore_invalid_inputs=True)
    assert sorted(index for batch in batches.frozen_batches for index in batch) == [0, 2]


def test_no_sentences():
    batches = EpochBatchIterator(pairs([3]), None, [])
    assert "there is no sentence" in refused(lambda: batches.first_batch)
    assert EpochBatchIterator(pairs([3]), list, [[0]]).first_batch[0]["id"] == 0


@pytest.mark.parametrize("step", ["train_step", "valid_step"])
def test_no_references(task, step):
    dataset = pairs([3], references=False)
    batch = dataset.collater([dataset[0]])
    rest = [None, 0] if step == "train_step" else []  # optimizer and update
    assert "no target side" in refused(getattr(task, step), batch, torch.nn.Linear(1, 1), None, *rest)


def test_a_division_by_zero_of_another_kind_is_left_alone(monkeypatch):
    monkeypatch.setattr(generate.logging, "basicConfig", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as raised:
        generate._main(None, None)
    assert not hasattr(raised.value, "is_user_error")

"""The wrapper around fairseq's batch iterator, over one that is easy to see through."""

import pytest

from depth_adaptive_fairseq.tasks.inference_batches import ObservedEpochIterator


class Batches(list):
    """The iterator of one epoch, as fairseq's: with a position."""

    def __init__(self, batches):
        super().__init__(batches)
        self.n = 0


class EpochIterator:
    def __init__(self, batches):
        self.batches = batches
        self.epoch = 7
        self.asked = None

    def __len__(self):
        return len(self.batches)

    def next_epoch_itr(self, shuffle=True, fix_batches_to_gpus=False):
        self.asked = (shuffle, fix_batches_to_gpus)
        return Batches(self.batches)


@pytest.fixture
def events():
    return []


@pytest.fixture
def observed(events):
    return ObservedEpochIterator(EpochIterator([{"id": 1}, {"id": 2}]), events.append, lambda: events.append("end"))


def test_batches_are_shown_as_they_are_taken_and_then_the_end(observed, events):
    for batch in observed.next_epoch_itr(shuffle=False):
        events.append(("used", batch["id"]))
    assert events == [{"id": 1}, ("used", 1), {"id": 2}, ("used", 2), "end"]


def test_there_is_no_end_where_batches_are_left(observed, events):
    """A run that failed half-way must not be reported as complete."""
    batches = iter(observed.next_epoch_itr())
    next(batches)
    batches.close()
    assert "end" not in events


def test_every_epoch_is_observed(observed, events):
    for _ in range(2):
        list(observed.next_epoch_itr())
    assert events.count("end") == 2


def test_an_empty_epoch_ends_too(events):
    observed = ObservedEpochIterator(EpochIterator([]), events.append, lambda: events.append("end"))
    assert list(observed.next_epoch_itr()) == []
    assert events == ["end"]


def test_lengths_are_the_wrapped_ones(observed):
    assert len(observed) == 2
    assert len(observed.next_epoch_itr()) == 2


def test_arguments_and_attributes_pass_through(observed):
    batches = observed.next_epoch_itr(shuffle=False, fix_batches_to_gpus=True)
    assert observed.asked == (False, True)
    assert observed.epoch == 7
    assert batches.n == 0
    for owner in (observed, batches):
        with pytest.raises(AttributeError, match="nonsense"):
            owner.nonsense  # noqa: B018

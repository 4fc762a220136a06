"""fairseq's batch iterator, observed: fairseq has no hook at the end of generation, and hides ids in interactive use."""

from typing import Callable, Iterator


class ObservedEpochIterator:
    """An epoch iterator whose batches are shown to *on_batch* as they are taken, and whose end calls *on_end*.

    Everything else is the wrapped iterator's.
    """

    def __init__(self, epoch_iterator, on_batch: Callable[[dict], None], on_end: Callable[[], None]):
        self._epoch_iterator = epoch_iterator
        self._on_batch = on_batch
        self._on_end = on_end

    def __getattr__(self, name):
        return getattr(self._epoch_iterator, name)

    def __len__(self) -> int:
        return len(self._epoch_iterator)

    def next_epoch_itr(self, *args, **kwargs) -> "_ObservedBatches":
        """The batches of the next epoch, observed."""
        batches = self._epoch_iterator.next_epoch_itr(*args, **kwargs)
        return _ObservedBatches(batches, self._on_batch, self._on_end)


class _ObservedBatches:
    def __init__(self, batches, on_batch, on_end):
        self._batches = batches
        self._on_batch = on_batch
        self._on_end = on_end

    def __getattr__(self, name):
        return getattr(self._batches, name)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict]:
        for batch in self._batches:
            self._on_batch(batch)
            yield batch
        self._on_end()

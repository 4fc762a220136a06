"""How much work decoding has done, as opposed to what formulas say (``cost``)."""

from dataclasses import dataclass


@dataclass
class Work:
    """Counts over any number of batches, of all ensemble members together.

    Attributes:
        steps: decoding steps.
        block_calls: times that a block was run for any rows.
        block_rows: tokens that went through a block.
        copied_states: copied states of which a block made keys and values.
        classifier_calls: times that an exit's classifier was run for any rows.
        classifier_rows: tokens of which a classifier was asked for logits.
    """

    steps: int = 0
    block_calls: int = 0
    block_rows: int = 0
    copied_states: int = 0
    classifier_calls: int = 0
    classifier_rows: int = 0

    def add_block(self, rows: int, copied_states: int = 0) -> None:
        """A block was run for *rows* tokens."""
        self.block_calls += 1
        self.block_rows += rows
        self.copied_states += copied_states

    def add_classifier(self, rows: int) -> None:
        """An exit's classifier was run for *rows* tokens."""
        self.classifier_calls += 1
        self.classifier_rows += rows

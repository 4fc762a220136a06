"""Going on from a checkpoint whose halting classifier is of another kind than the model's, or that has one too many."""

import logging
from typing import Dict, Optional

from torch import Tensor

from depth_adaptive_fairseq.modules.halting import HALTING_KINDS, HaltingClassifier

logger = logging.getLogger(__name__)


def fit_halting(halting: Optional[HaltingClassifier], state_dict: Dict[str, Tensor], prefix: str) -> None:
    """Give *state_dict* the entries under *prefix* that *halting* loads, whatever classifier it comes from.

    A classifier of the same kind and sizes goes on as it is. A geometric layer that all blocks share starts the layer of
    each block. Anything else is dropped, with a sentence in the log, and *halting* starts as it was initialised, as it does
    where there is nothing to go on from.

    Checkpoints that do not store the kind are told apart by names and shapes. These are the same for a sequence-specific
    and a multinomial classifier where encoder and decoder are equally wide: such a one is taken for the model's kind.

    Args:
        halting: the model's classifier, or None.
        state_dict: a checkpoint's entries, changed in place.
        prefix: what the names of the classifier's entries begin with, dot included.
    """
    names = [name for name in state_dict if name.startswith(prefix)]
    stored = {name[len(prefix) :]: state_dict.pop(name) for name in names}
    if halting is None:
        if stored:
            logger.warning(
                f"the checkpoint's halting classifier ({_kind_of(stored)}) is dropped, for the model has --halting none"
            )
        return
    own = {name: tensor.detach().clone() for name, tensor in halting.state_dict().items()}
    taken = _entries_for(halting, own, stored)
    if stored and taken is None:
        logger.warning(
            f"the checkpoint's halting classifier ({_kind_of(stored)}) is dropped, for it does not fit the model's "
            f"({_kind_of(own)}), which starts afresh"
        )
    state_dict.update({f"{prefix}{name}": tensor for name, tensor in {**own, **(taken or {})}.items()})


def _entries_for(
    halting: HaltingClassifier, own: Dict[str, Tensor], stored: Dict[str, Tensor]
) -> Optional[Dict[str, Tensor]]:
    """The parameters among *stored* that *halting* can go on from, by its own names; None where they do not fit."""
    kind = stored.get("kind_number")
    if kind is not None and int(kind) != HALTING_KINDS.index(halting.kind):
        return None
    parameters = {name: tensor for name, tensor in stored.items() if name != "kind_number"}
    if halting.kind == "geometric" and _layers(parameters) == 1 < _layers(own):
        logger.info("the checkpoint's geometric halting classifier, which all blocks share, starts that of each block")
        parameters = {
            f"projections.{number}.{name.rpartition('.')[2]}": tensor.clone()
            for number in range(_layers(own))
            for name, tensor in parameters.items()
        }
    shapes = {name: tensor.shape for name, tensor in own.items() if name != "kind_number"}
    return parameters if shapes == {name: tensor.shape for name, tensor in parameters.items()} else None


def _layers(entries: Dict[str, Tensor]) -> int:
    """How many decisions of a geometric classifier have a layer of their own."""
    return sum(name.startswith("projections.") and name.endswith(".weight") for name in entries)


def _kind_of(entries: Dict[str, Tensor]) -> str:
    """What kind of classifier *entries* make, for people."""
    if "kind_number" in entries and 0 <= int(entries["kind_number"]) < len(HALTING_KINDS):
        kind = HALTING_KINDS[int(entries["kind_number"])]
    else:
        kind = "geometric" if _layers(entries) > 0 else "sequence or multinomial"
    sizes = ", ".join("x".join(map(str, tensor.shape)) for name, tensor in entries.items() if name.endswith("weight"))
    return f"{kind}, {sizes}" if sizes else kind

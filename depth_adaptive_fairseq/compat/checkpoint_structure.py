"""What a checkpoint must hold before fairseq looks at it: ``safe_checkpoints`` asks for it."""

from argparse import Namespace

# Of a configuration, which has some hundreds.
_MOST_VALUES = 100_000


def misfit(state):
    """What is wrong with the entries of a checkpoint, as the end of a sentence; None if nothing is.

    Args:
        state: what the file holds, a dictionary with an entry ``model``
    """
    model = state["model"]
    if not isinstance(model, dict) or not all(isinstance(name, str) for name in model):
        return "its model is no dictionary of weights"
    for name, weight in model.items():
        if hasattr(weight, "untyped_storage") and not _is_whole(weight):
            return f"its weight {name} is larger than what is stored of it"
    if not isinstance(state.get("args"), (Namespace, type(None))):
        return "its args are no namespace"
    if not isinstance(state.get("cfg"), (dict, type(None))):
        return "its cfg is no dictionary"
    if _is_endless([state.get("args"), state.get("cfg")]):
        return f"its configuration holds more than {_MOST_VALUES} values"
    if "optimizer_history" in state:
        history = state["optimizer_history"]
        if not isinstance(history, list) or not history or not all(isinstance(each, dict) for each in history):
            return "its optimizer_history is no list with an entry"
        updates = history[-1].get("num_updates", 0)
        if isinstance(updates, bool) or not isinstance(updates, int) or updates < 0:
            return "its optimizer_history has no number of updates"
    elif "optimizer" not in state:
        return "it has neither optimizer_history nor optimizer"
    if "extra_state" in state:
        extra = state["extra_state"]
        if not isinstance(extra, dict) or not isinstance(extra.get("train_iterator", {}), dict):
            return "its extra_state is no dictionary"
    elif not {"epoch", "batch_offset", "val_loss"} <= set(state):
        return "it has no extra_state"
    if not isinstance(state.get("task_state", {}), dict):
        return "its task_state is no dictionary"
    return None


def _is_whole(tensor):
    """Whether each of a tensor's numbers is stored, and not one of them shown many times."""
    import torch  # here: all modules of this package are imported when an interpreter starts that may never need it

    if tensor.layout is not torch.strided or tensor.is_quantized:
        return True
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _is_endless(value):
    """Whether containers hold very many values, one that is in several places counted in each, as whoever copies it meets it."""
    values, count = [value], 0
    while values and count <= _MOST_VALUES:
        value = values.pop()
        count += 1
        if isinstance(value, Namespace):
            value = vars(value)
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple, set)):
            values.extend(value)
    return count > _MOST_VALUES

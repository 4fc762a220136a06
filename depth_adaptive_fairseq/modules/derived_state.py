"""What is computed from a module's weights once and kept while they stay as they are."""

from typing import Any, Callable, Dict, Hashable
from weakref import WeakSet

from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook


class KeepsDerivedState(nn.Module):
    """Mixin for a module that owns what was derived from its weights, such as packed copies of them.

    It is dropped by whatever changes weights: ``train`` and ``eval``, anything that moves or converts them (``to``, ``half``,
    ``cuda``), ``load_state_dict``, and a step of any PyTorch optimiser in this process, called on the module or on one that it is
    part of. Copies and pickles of the module begin without it.

    What is unseen: editing a weight in place or through ``.data``, assigning another parameter or layer, and calling one of the above
    on a layer inside of the module only. Call :meth:`drop_derived_state` behind such an edit.

    Attributes:
        derived_version: changes whenever the state is dropped.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._derived: Dict[Hashable, Any] = {}
        self.derived_version = 0
        self.register_load_state_dict_post_hook(_drop_after_loading)

    def derived(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make()`` gave when it was last called for *key*; it is called if that was dropped since."""
        if key not in self._derived:
            self._derived[key] = make()
            _OWNERS.add(self)
        return self._derived[key]

    def drop_derived_state(self) -> None:
        """Forget what was derived: the weights have changed."""
        self._derived.clear()
        self.derived_version += 1
        _OWNERS.discard(self)

    def train(self, mode: bool = True):
        """As ``nn.Module``'s; dropouts may act differently from now on."""
        if mode != self.training:
            self.drop_derived_state()
        return super().train(mode)

    def _apply(self, *args, **kwargs):
        self.drop_derived_state()
        return super()._apply(*args, **kwargs)

    def __getstate__(self):
        return {**self.__dict__, "_derived": {}}


# Those that have something to drop.
_OWNERS: "WeakSet[KeepsDerivedState]" = WeakSet()


def _drop_after_loading(module: KeepsDerivedState, incompatible_keys) -> None:
    module.drop_derived_state()


def _drop_after_a_step(optimizer, args, kwargs) -> None:
    # Optimisers of half precision step copies of the weights, so that their parameters do not tell whose they are.
    for owner in list(_OWNERS):
        owner.drop_derived_state()


register_optimizer_step_post_hook(_drop_after_a_step)

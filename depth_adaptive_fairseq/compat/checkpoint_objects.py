"""Objects that hold data only, as published checkpoints of fairseq have them, from files that cannot be trusted.

HuBERT and others keep their ``Dictionary`` in the task's state, and fairseq 1.0.0a0 wrote its configuration as omegaconf's
containers and nodes. Neither class is let near the file: a stand-in takes its place while the file is read and keeps the
state, which is checked before a dictionary, or plain containers, are made of it. Used by ``safe_checkpoints``.
"""

from argparse import Namespace
from collections import Counter, OrderedDict


class Unfit(ValueError):
    """The state of an object is not what its class has."""


class _StandIn:
    """Takes the place of an object: keeps the state that the file gives it, and does nothing else."""

    state = {}

    def __new__(cls, *arguments):
        return super().__new__(cls)

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        if not isinstance(state, dict):
            raise Unfit(f"an object of {self.name} whose state is a {type(state).__name__}")
        self.state = state

    def restored(self, plain):
        """What the object stands for.

        Args:
            plain: a function that restores what is in it

        Raises:
            Unfit: its state is not what such an object has
        """
        raise Unfit(f"an object of {self.name} outside a configuration")


class _Dictionary(_StandIn):
    name = "fairseq.data.dictionary.Dictionary"
    words = {"bos_word": "<s>", "unk_word": "<unk>", "pad_word": "<pad>", "eos_word": "</s>"}
    numbers = ("bos_index", "unk_index", "pad_index", "eos_index", "nspecial")

    def restored(self, plain):
        from fairseq.data import Dictionary

        dictionary = Dictionary()
        known = {*vars(dictionary), *self.words}
        if not known.issuperset(self.state):
            self._refuse(f"with {sorted(map(str, set(self.state) - known))[0]}")
        state = {**vars(dictionary), **self.words, **self.state}
        symbols, count = state["symbols"], state["count"]
        if not (_is_list(symbols, str) and _is_list(count, int) and len(symbols) == len(count)):
            self._refuse("without a list of symbols and one of their counts")
        # Of a symbol that is there twice the later one counts, as it does here.
        if state["indices"] != {symbol: index for index, symbol in enumerate(symbols)}:
            self._refuse("whose indices are not those of its symbols")
        if not _is_list([state[name] for name in self.words], str):
            self._refuse("with special words that are no text")
        numbers = [state[name] for name in self.numbers]
        if not _is_list(numbers, int) or not all(0 <= number <= len(symbols) for number in numbers):
            self._refuse("with special symbols that are none of its symbols")
        vars(dictionary).update(state)
        return dictionary

    def _refuse(self, reason):
        raise Unfit(f"a dictionary {reason}")


class _Container(_StandIn):
    name = "omegaconf.dictconfig.DictConfig"

    def restored(self, plain):
        content = self.state.get("_content")
        if type(content) not in (dict, list, str, type(None)):
            raise Unfit(f"an object of {self.name} whose content is a {type(content).__name__}")
        return plain(content)


class _ListContainer(_Container):
    name = "omegaconf.listconfig.ListConfig"


class _Node(_StandIn):
    name = "omegaconf.nodes"

    def restored(self, plain):
        value = self.state.get("_val")
        if not isinstance(value, (str, int, float, bytes, type(None), Namespace)):
            raise Unfit(f"an object of {self.name} whose value is a {type(value).__name__}")
        return plain(value)


class _Metadata(_StandIn):
    name = "omegaconf.base.Metadata"


class _ContainerMetadata(_StandIn):
    name = "omegaconf.base.ContainerMetadata"


class _Type:
    """Takes the place of the types that omegaconf's nodes name."""

    name = "a type"


def _empty(*arguments):
    """Takes the place of ``defaultdict``, which omegaconf uses for a cache."""
    return {}


_NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode")

STAND_INS = [
    *((kind, kind.name) for kind in (_Dictionary, _Container, _ListContainer, _Metadata, _ContainerMetadata)),
    *((_Node, f"omegaconf.nodes.{name}") for name in _NODES),
    *((_Type, f"builtins.{name}") for name in ("bool", "bytes", "dict", "float", "int", "list", "str", "tuple")),
    (_Type, "typing.Any"),
    (_empty, "collections.defaultdict"),
]


def restore(value):
    """``value`` with what the stand-ins in it stand for, changed in place where it can be.

    Raises:
        Unfit: the state of one is not what such an object has
    """
    done = {}

    def plain(value):
        if isinstance(value, _StandIn):
            if id(value) not in done:
                done[id(value)] = None
                done[id(value)] = value.restored(plain)
            return done[id(value)]
        if isinstance(value, tuple) and type(value) is tuple:
            entries = tuple(plain(each) for each in value)
            return entries if any(new is not old for new, old in zip(entries, value)) else value
        if id(value) in done:
            return value
        if type(value) in (dict, OrderedDict, Counter, Namespace):
            done[id(value)] = None
            entries = vars(value) if type(value) is Namespace else value
            if any(isinstance(key, _StandIn) for key in entries):
                raise Unfit("an object as the key of a dictionary")
            for key, old in entries.items():
                entries[key] = plain(old)
        elif type(value) is list:
            done[id(value)] = None
            value[:] = map(plain, value)
        return value

    try:
        return plain(value)
    except RecursionError:
        raise Unfit("containers within containers without end") from None


def _is_list(values, kind):
    return type(values) is list and all(type(value) is kind for value in values)

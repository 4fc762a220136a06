"""How mends reach the modules they concern."""

import contextlib
import importlib
import inspect
import sys
import types
from importlib.machinery import SourceFileLoader

import pytest

from depth_adaptive_fairseq.compat import MENDS, install
from depth_adaptive_fairseq.compat.hooks import MendingFinder


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that can be imported, and is forgotten afterwards."""
    name = "module_to_be_mended"
    (tmp_path / f"{name}.py").write_text("import events\nevents.seen.append('run')\nvalue = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "events", types.SimpleNamespace(seen=[]))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield name
    sys.modules.pop(name, None)


def mend(name, **functions):
    return types.SimpleNamespace(MODULES=(name,), **functions)


def test_during_and_after(module):
    seen = sys.modules["events"].seen

    @contextlib.contextmanager
    def during(name):
        seen.append(f"before {name}")
        yield
        seen.append("done")

    def after(loaded):
        seen.append("after")
        loaded.value += 1

    sys.meta_path.insert(0, MendingFinder([mend(module, during=during, after=after)]))
    loaded = importlib.import_module(module)
    assert seen == [f"before {module}", "run", "done", "after"]
    assert loaded.value == 2


def test_mends_of_one_module_are_applied_in_order(module):
    order = []
    sys.meta_path.insert(0, MendingFinder([
        mend(module, after=lambda loaded: order.append(1)),
        mend(module, after=lambda loaded: order.append(2)),
    ]))
    importlib.import_module(module)
    assert order == [1, 2]


def test_the_loader_stays_what_it_is(module):
    sys.meta_path.insert(0, MendingFinder([mend(module)]))
    loaded = importlib.import_module(module)
    assert type(loaded.__loader__) is SourceFileLoader
    assert "exec_module" not in vars(loaded.__loader__)
    assert "value = 1" in inspect.getsource(loaded)


def test_an_error_of_the_module_ends_what_is_held_and_passes(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("1 / 0")
    ended = []

    @contextlib.contextmanager
    def during(name):
        try:
            yield
        finally:
            ended.append(name)

    sys.meta_path.insert(0, MendingFinder([mend(module, during=during)]))
    with pytest.raises(ZeroDivisionError):
        importlib.import_module(module)
    assert ended == [module]


def test_other_modules_are_left_to_the_other_finders(module):
    assert MendingFinder([mend("something.else")]).find_spec(module) is None


def test_modules_that_are_loaded_already(module):
    loaded = importlib.import_module(module)

    def after(loaded):
        loaded.value = 7

    MendingFinder([mend(module, after=after)]).apply_to_loaded()
    assert loaded.value == 7


def test_every_mend_says_what_it_concerns():
    install()
    for name in MENDS:
        module = sys.modules[f"depth_adaptive_fairseq.compat.{name}"]
        assert module.MODULES or module.PACKAGES, name
        assert hasattr(module, "after") or hasattr(module, "during"), name
        for heading in ("Concerns:", "No longer needed when:"):
            assert heading in module.__doc__, (name, heading)


def test_a_finder_that_asks_back(module):
    """As the one that waits for the first import does, and retires: the module is mended once."""
    times = []
    finder = MendingFinder([mend(module, after=times.append)])

    class Waiting:
        @classmethod
        def find_spec(cls, *arguments):
            sys.meta_path.remove(cls)
            return finder.find_spec(*arguments)

    sys.meta_path[:0] = [finder, Waiting]
    importlib.import_module(module)
    assert len(times) == 1

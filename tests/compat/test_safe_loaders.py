"""No loader of fairseq's runs code, whichever module calls it."""

import ast
import functools
import importlib
import io
import pickle
import re
import types
from collections import Counter
from pathlib import Path

import fairseq
import fairseq_cli
import numpy
import pytest
import torch

from depth_adaptive_fairseq.compat import safe_loaders, safe_pickle
from depth_adaptive_fairseq.compat.overlay import Overlay
from tests.compat.hostile import Hostile

# Everything of fairseq's that can be imported by name: the examples, too, as ``fairseq.examples...``. Those that are run as
# programs of their own (``python .../simple_kmeans/dump_km_label.py``) are the user's to trust, as any program is.
PACKAGES = (fairseq, fairseq_cli)
LIBRARIES = {"torch", "numpy", "pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
LOADING = {"load", "loads", "Unpickler", "open", "load_all", "unsafe_load", "full_load", "load_state_dict_from_url"}
# What the views replace, of torch and of the others.
MENDED = {"load", "loads", "Unpickler", "open", "hub.load", "hub.load_state_dict_from_url"}
# They build plain values: FullLoader calls nothing since PyYAML 5.4, and PyYAML >= 6 is required.
YAML_LOADERS = {"SafeLoader", "BaseLoader", "FullLoader"}


@functools.cache
def sources():
    """(path, syntax tree) of each module that has a word in it which a call would need; to parse all of them takes long."""
    words = re.compile(r"\b(\w*load|loads|load_\w+|Unpickler|shelve|shell|system|popen)\b")
    paths = (path for package in PACKAGES for path in sorted(Path(package.__file__).parent.rglob("*.py")))
    return [(path, ast.parse(text)) for path in paths if words.search(text := path.read_text())]


def imports(nodes):
    """(local name, library, function or None) of each import of a library that can load."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name.partition(".")[0] in LIBRARIES:
                    yield each.asname or each.name.partition(".")[0], each.name, None
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module.partition(".")[0] in LIBRARIES:
                for each in node.names:
                    yield each.asname or each.name, node.module, each.name


def module_level(tree):
    """The statements that are run when a module is imported, those of conditions and attempts included."""
    nodes = [tree]
    for node in nodes:
        if isinstance(node, (ast.Module, ast.If, ast.Try, ast.ExceptHandler)):
            nodes += ast.iter_child_nodes(node)
    return nodes


def loading_calls(nodes):
    """(name of the library as the module calls it, call) of each call such as ``torch.load(...)``."""
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOADING:
            root = node.func.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name):
                yield root.id, node


def unsafe_yaml(call):
    loaders = {keyword.value.attr for keyword in call.keywords if keyword.arg == "Loader"}
    return call.func.attr == "unsafe_load" or (call.func.attr == "load" and not (loaders and loaders <= YAML_LOADERS))


def test_every_loader_in_fairseq_is_mended():
    found, missed = 0, []
    for path, tree in sources():
        nodes = list(ast.walk(tree))
        found_here = list(imports(nodes))
        everywhere = {name: library for name, library, function in found_here if function is None}
        locally = {name for name, _, _ in Counter(found_here) - Counter(imports(module_level(tree)))}
        for name, library, function in found_here:
            if function in LOADING:  # ``from torch import load`` is no look-up that a view of torch could change
                missed.append((path, library, function))
        for name, call in loading_calls(nodes):
            library = everywhere.get(name, "").partition(".")[0]
            if not library:
                continue
            found += 1
            if library == "yaml":
                missed += [(path, call.lineno)] * unsafe_yaml(call)
            elif name in locally or library not in safe_loaders._VIEWS or ast.unparse(call.func).partition(".")[2] not in MENDED:
                missed.append((path, call.lineno, ast.unparse(call)))
            else:
                module = types.SimpleNamespace(__file__=str(path), **{name: importlib.import_module(library)} if _there(library) else {})
                assert safe_loaders._mentions_loading(module), path
                safe_loaders.after(module)
                assert not _there(library) or isinstance(getattr(module, name), Overlay), path
    assert found > 40  # the walk finds what is known to be there
    assert missed == []


def _there(library):
    return importlib.util.find_spec(library) is not None


def test_no_shell_is_given_a_text_but_in_the_mended_place():
    calls = {
        path.name
        for path, tree in sources()
        if "examples" not in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (any(keyword.arg == "shell" for keyword in node.keywords) or ast.unparse(node.func) in ("os.system", "os.popen"))
    }
    assert calls == {"fasta_dataset.py"}


def test_yamls_full_loader_calls_nothing(marker):
    import yaml

    with pytest.raises(yaml.YAMLError):
        yaml.load(f"!!python/object/apply:os.mkdir ['{marker}']", Loader=yaml.FullLoader)
    with pytest.raises(yaml.YAMLError):
        yaml.load(f"!!python/object/new:os.mkdir ['{marker}']", Loader=yaml.FullLoader)


@pytest.mark.parametrize(
    "name",
    [
        "fairseq.models.text_to_speech.vocoder",
        "fairseq.models.speech_to_text.xm_transformer",
        "fairseq.modules.quantization.pq.em",
        "fairseq.data.codedataset",
        "fairseq.distributed.utils",
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_hostile_files_are_refused_by_every_module(name, old, marker, tmp_path):
    path = tmp_path / "second.pt"
    torch.save({"model": Hostile(marker)}, path, _use_new_zipfile_serialization=not old)
    load = importlib.import_module(name).torch.load
    for options in ({}, {"weights_only": False}):
        with pytest.raises((ValueError, pickle.UnpicklingError)):
            load(str(path), **options)


def test_the_libraries_stay_as_they_are_for_others():
    import fairseq.models.text_to_speech.vocoder as vocoder

    assert vocoder.torch is not torch and not isinstance(torch, Overlay)
    assert vocoder.torch.nn is torch.nn


def test_code_from_the_network_is_refused():
    import fairseq.models.speech_to_text.hub_interface as module

    with pytest.raises(ValueError, match="refused to call torch.hub.load.*somebody/code"):
        module.torch.hub.load("somebody/code", "model")


def test_arrays_of_objects_are_refused(marker, tmp_path):
    numpy.save(tmp_path / "array.npy", numpy.array([Hostile(marker)], dtype=object), allow_pickle=True)
    from fairseq.data import codedataset

    with pytest.raises(ValueError, match="allow_pickle"):
        codedataset.np.load(tmp_path / "array.npy", allow_pickle=True)


def test_workers_exchange_what_a_checkpoint_holds(tmp_path):
    """As when the first of several workers has read one of HuBERT's and passes it on."""
    from fairseq.data import Dictionary
    from fairseq.distributed import utils

    torch.save({"task_state": {"dictionaries": [Dictionary()]}, "model": torch.ones(2)}, tmp_path / "state")
    received = utils.torch.load(io.BytesIO((tmp_path / "state").read_bytes()), map_location="cpu")
    assert received["task_state"]["dictionaries"] == [Dictionary()]


def test_workers_exchange_data_only(marker):
    from fairseq.distributed import utils

    data = {
        "loss": torch.tensor([1.5, 2.0]), "count": numpy.int64(3), "array": numpy.arange(3), "text": "a", "none": None,
        "nested": [(1, 2.5), {3}], "half": torch.ones(2, dtype=torch.float16),
    }
    received = utils.pickle.loads(pickle.dumps(data))
    assert received["loss"].tolist() == [1.5, 2.0] and received["half"].dtype is torch.float16
    assert received["count"] == 3 and received["array"].tolist() == [0, 1, 2] and received["nested"] == [(1, 2.5), {3}]
    for hostile in (Hostile(marker), [Hostile(marker)], numpy.array([Hostile(marker)], dtype=object)):
        with pytest.raises(pickle.UnpicklingError, match="refused to unpickle"):
            utils.pickle.loads(pickle.dumps(hostile))
    # A tensor's storage is a file within the pickle, for which PyTorch calls its own loader.
    inner = io.BytesIO()
    torch.save(Hostile(marker), inner)

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    with pytest.raises(pickle.UnpicklingError):
        safe_pickle.loads(pickle.dumps(Storage()))

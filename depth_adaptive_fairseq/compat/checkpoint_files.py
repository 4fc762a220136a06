"""A checkpoint's configuration names files, and fairseq reads them: pretrained parts, embeddings, subword models, dictionaries.

Concerns: fairseq 0.12.2, in which building a model from a checkpoint does all that its training did at the start.

Files are named by the caller: on the command line, with ``--model-overrides`` or as keywords of the hub interface. While a
model is built from a checkpoint, a file whose path stands in the checkpoint's configuration and was not given by the caller
is not opened. What a training only began with is not needed then, and is left out: the weights are the checkpoint's.
No longer needed when: fairseq builds models from checkpoints without reading other files.
"""

import builtins
import contextlib
import contextvars
import functools
import inspect
import io
import os
import threading
from argparse import Namespace
from dataclasses import fields

from .checkpoint_configuration import described
from .user_errors import is_user_error, user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.file_utils", "fairseq.hub_utils")

# What a training begins with or writes, by the part of the configuration: nothing that a finished model needs.
_NOT_NEEDED = {
    "model": ("encoder_embed_path", "decoder_embed_path", "load_pretrained_encoder_from", "load_pretrained_decoder_from"),
    "criterion": ("save_predictions", "wer_args", "wer_kenlm_model", "wer_lexicon"),
}
# What a path is called among the options of fairseq's tokenizers and subword splitters.
_PATHS = ("model", "codes", "merges", "vocab", "json", "file", "path")


class Loading:
    """Models that are being built from checkpoints, and the files that these name.

    Args:
        given: what the caller names, strings within any containers
        whole: whether a file holds all of a model's weights, and each of them whole

    Attributes:
        checkpoint: the file that was read last
        weights: its weights, empty if they are not whole
    """

    def __init__(self, *given, whole=True):
        self.texts = {text for _, text in _texts(given)}
        self._given = {path for path in map(_path, self.texts) if path}
        self._named = {}
        self._whole = whole
        self.checkpoint, self.weights = None, {}

    def add(self, checkpoint, state):
        """Take note of what a checkpoint's configuration names, and leave out what is not needed."""
        self.checkpoint, self.weights = checkpoint, state["model"] if self._whole else {}
        for part in ("args", "cfg"):
            configuration = state.get(part)
            if configuration is None:
                continue
            for group, names in _NOT_NEEDED.items():
                # The old kind of configuration is flat: all options side by side.
                self._leave_out(configuration if part == "args" else _entry(configuration, group), names)
            for name, text in _texts(configuration):
                path = _path(text)
                if path:
                    self._named.setdefault(path, (name, text))

    def _leave_out(self, options, names):
        for name in names:
            value = _entry(options, name)
            if isinstance(value, str) and value not in self.texts:
                if isinstance(options, Namespace):
                    setattr(options, name, None)
                else:
                    options[name] = None

    def check(self, file):
        """Raise a user error if a file, or an address, is one that only a checkpoint names."""
        path = _path(file)
        if path not in self._named or any(path == given or path.startswith(given + os.sep) for given in self._given):
            return
        name, text = self._named[path]
        option = name.rpartition(".")[2]
        raise user_error(
            f"checkpoint {self.checkpoint} names the file {text} (as {name}), and a checkpoint may name no file to read: if "
            f"you want it read, name it yourself, with --model-overrides \"{{'{option}': {text!r}}}\""
        )


_loading = contextvars.ContextVar("loading", default=None)
_for_hub = contextvars.ContextVar("for_hub", default=False)


def current():
    """The ``Loading`` that is going on in this thread, or None."""
    return _loading.get()


def after(module):
    if module.__name__ == "fairseq.file_utils":
        _mend_cache(module)
    elif module.__name__ == "fairseq.hub_utils":
        _mend_hub(module)
    else:
        _mend_loading(module)


def _mend_loading(module):
    load_models, load_state = module.load_model_ensemble_and_task, module.load_checkpoint_to_cpu
    signature = inspect.signature(load_models)

    @functools.wraps(load_models)
    def load_model_ensemble_and_task(filenames, arg_overrides=None, *arguments, **options):
        if current() is not None:  # a model within a model
            for name in filenames:
                current().check(name)
            return load_models(filenames, arg_overrides, *arguments, **options)
        given = signature.bind(filenames, arg_overrides, *arguments, **options).arguments
        whole = given.get("num_shards", 1) == 1 and given.get("strict", True)
        loading = Loading(filenames, arg_overrides, whole=whole)
        if given.get("state") is not None:
            loading.add(filenames[0], given["state"])
        with _set(_loading, loading), _guarded_open():
            try:
                ensemble, cfg, task = load_models(filenames, arg_overrides, *arguments, **options)
            except Exception as error:
                if is_user_error(error) or isinstance(error, OSError):
                    raise
                raise user_error(
                    f"cannot build the model of checkpoint {loading.checkpoint or filenames[0]} ({described(error)}): its "
                    "configuration, its weights and the data folder's dictionaries do not fit together",
                    type(error) if type(error) in (AssertionError, AttributeError, RuntimeError, TypeError) else ValueError,
                ) from error
        if _for_hub.get():
            _refuse_files_of_text_processing(cfg, loading)
        return ensemble, cfg, task

    @functools.wraps(load_state)
    def load_checkpoint_to_cpu(path, *arguments, **options):
        state = load_state(path, *arguments, **options)
        if current() is not None:
            current().add(path, state)
        return state

    module.load_model_ensemble_and_task = load_model_ensemble_and_task
    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def _mend_cache(module):
    original = module.cached_path

    @functools.wraps(original)
    def cached_path(url_or_filename, *arguments, **options):
        if current() is not None:
            current().check(url_or_filename)
        return original(url_or_filename, *arguments, **options)

    module.cached_path = cached_path


def _mend_hub(module):
    original = module.from_pretrained

    @functools.wraps(original)
    def from_pretrained(*arguments, **options):
        with _set(_for_hub, True):
            return original(*arguments, **options)

    module.from_pretrained = from_pretrained


def _refuse_files_of_text_processing(cfg, loading):
    """The hub interface builds what splits and joins words from the checkpoint's configuration, too."""
    from fairseq.registry import REGISTRIES

    named = [("generation.replace_unk", "replace_unk", _entry(_entry(cfg, "generation"), "replace_unk"))]
    for group in ("bpe", "tokenizer"):
        options = _entry(cfg, group)
        kind = REGISTRIES[group]["dataclass_registry"].get(_entry(options, "_name") or _entry(options, group))
        for field in fields(kind) if kind else ():
            value = _entry(options, field.name)
            if value not in (field.default, "???") and any(each in field.name for each in _PATHS):
                named.append((f"{group}.{field.name}", field.name, value))
    for name, option, value in named:
        if isinstance(value, str) and value and value not in loading.texts:
            raise user_error(
                f"checkpoint {loading.checkpoint} names the file {value} (as {name}), and a checkpoint may name no file to "
                f"read: name it yourself, from_pretrained(..., {option}={value!r})"
            )


@contextlib.contextmanager
def _set(variable, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


_lock, _guards, _open = threading.Lock(), 0, None


@contextlib.contextmanager
def _guarded_open():
    """Have ``open`` ask ``Loading.check`` first; only for who is loading, though other threads see it, too."""
    global _guards, _open
    with _lock:
        if not _guards:
            _open = io.open
            builtins.open = io.open = _open_if_allowed
        _guards += 1
    try:
        yield
    finally:
        with _lock:
            _guards -= 1
            if not _guards:
                builtins.open = io.open = _open


def _open_if_allowed(file, *arguments, **options):
    if current() is not None:
        current().check(file)
    return _open(file, *arguments, **options)


def _path(text):
    """Where a path leads, or None if it is none."""
    if not isinstance(text, (str, os.PathLike)) or not str(text):
        return None
    try:
        return os.path.realpath(text)
    except (OSError, ValueError):
        return None


def _entry(options, name):
    """An option of a configuration of any kind, or None."""
    if options is None or isinstance(options, str):
        return None
    try:
        return options.get(name) if hasattr(options, "get") else getattr(options, name, None)
    except Exception:  # omegaconf's, for one that is missing or has no value
        return None


def _texts(value, name=""):
    """(dotted name, string) of each string in containers of any kind."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Namespace):
        value = vars(value)
    if isinstance(value, (str, os.PathLike)):
        yield name, str(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _texts(each, name)

"""A checkpoint's configuration reads environment variables: ``${env:NAME}`` comes out as the variable's value.

Concerns: fairseq 0.12.2, which makes a live omegaconf configuration of what a checkpoint holds. The value reached error
messages; ``${a}`` that leads back to itself ended in a RecursionError; whatever else does not fit in a traceback.

A checkpoint's strings are taken as they are. Only a value that is as a whole the name of another one in the same
configuration, such as ``${task.data}``, which fairseq 1.0.0a0 saved, is replaced by it, once, before omegaconf sees it.
No longer needed when: fairseq resolves nothing in the configuration of a checkpoint.
"""

import functools
import re
from argparse import Namespace

from .user_errors import is_user_error, user_error

MODULES = ("fairseq.checkpoint_utils", "fairseq.trainer")

_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
_LONGEST_CHAIN = 20
# What "${" becomes: omegaconf 2.0 knows no escape, but it looks no further at what a resolver returned.
_ESCAPED = "${dollar:}{"
# What "${" becomes on its way through hydra's parser, which has a meaning for neither: a character of no meaning.
_MARKED = "\ue000{"


def after(module):
    if module.__name__ == "fairseq.trainer":
        _mend_training(module.Trainer)
        return
    module.OmegaConf = _verbatim(module.OmegaConf)
    module.convert_namespace_to_omegaconf = _convert_verbatim(module.convert_namespace_to_omegaconf, module.OmegaConf)
    _mend_loading(module)


def _verbatim(omegaconf):
    """omegaconf's maker of configurations, for those that come from a checkpoint."""

    class Verbatim(omegaconf):
        @staticmethod
        def create(obj, *arguments, **options):
            register_escape(omegaconf)
            return omegaconf.create(escape(without_references(obj)), *arguments, **options)

    return Verbatim


def register_escape(omegaconf):
    """Make sure that omegaconf resolves what ``escape`` writes."""
    if omegaconf.get_resolver("dollar") is None:
        omegaconf.register_resolver("dollar", lambda *_: "$")


def escape(value):
    """A copy of plain containers whose strings omegaconf gives back as they are; what a namespace holds it never looks at."""
    return _replaced(value, "${", _ESCAPED)


def without_references(root):
    """A copy of plain containers with the values that are names of other ones replaced by these.

    A reference to nothing, to a container, or in a circle is a string like any other.
    """

    def target(reference, chain=0):
        value = root
        for part in _REFERENCE.fullmatch(reference).group(1).split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return target(value, chain + 1) if chain < _LONGEST_CHAIN else None
        if isinstance(value, list) and any(isinstance(each, (dict, list, tuple, str)) for each in value):
            return None
        return None if isinstance(value, (dict, Namespace)) else value

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            found = target(value)
            return value if found is None else found
        return value

    return plain(root)


def _replaced(value, old, new, in_namespaces=None):
    """A copy of plain containers with ``old`` replaced in all strings, by ``in_namespaces`` in those of a namespace."""
    if isinstance(value, str):
        return value.replace(old, new) if old in value else value
    if isinstance(value, dict):
        return {key: _replaced(each, old, new, in_namespaces) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, old, new, in_namespaces) for each in value)
    if isinstance(value, Namespace) and in_namespaces is not None:
        return Namespace(**_replaced(vars(value), old, in_namespaces, in_namespaces))
    return value


def _convert_verbatim(convert, omegaconf):
    @functools.wraps(convert)
    def convert_namespace_to_omegaconf(args):
        marked = _replaced(args, "${", _MARKED, in_namespaces=_MARKED)
        if marked == args:
            return convert(args)
        from fairseq.dataclass.utils import omegaconf_no_object_check

        content = omegaconf.to_container(convert(marked), resolve=False)
        content = _replaced(content, _MARKED, "${", in_namespaces="${")
        with omegaconf_no_object_check():
            configuration = omegaconf.create(content)
        omegaconf.set_struct(configuration, True)
        return configuration

    return convert_namespace_to_omegaconf


def _mend_loading(module):
    original = module.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path, *arguments, **options):
        from omegaconf import _utils

        is_primitive_type = _utils.is_primitive_type
        try:
            return original(path, *arguments, **options)
        except Exception as error:
            if is_user_error(error) or isinstance(error, OSError):
                raise
            raise user_error(f"cannot use checkpoint {path}: its configuration or state does not fit ({described(error)})") from error
        finally:
            _utils.is_primitive_type = is_primitive_type  # fairseq leaves its replacement there when it fails

    module.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def _mend_training(trainer):
    original = trainer.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(self, filename, *arguments, **options):
        try:
            return original(self, filename, *arguments, **options)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if is_user_error(error):
                raise
            raise user_error(
                f"cannot go on from checkpoint {filename}: its state of the training does not fit ({described(error)}); start "
                "a new training from its weights, with --finetune-from-model"
            ) from error

    trainer.load_checkpoint = load_checkpoint


def described(error, longest=300):
    """The kind of an error and what it says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:longest]}{'...' * (len(text) > longest)}"

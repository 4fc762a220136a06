"""Strings of a checkpoint's configuration are run as Python code.

Concerns: fairseq 0.12.2, which calls ``eval`` on options such as ``--adaptive-softmax-cutoff``.
When a model is built from a checkpoint these strings are the checkpoint's, so that a file of
plain strings could run anything. Here they may be literals, joined by ``+`` and ``*`` as in
``[(512, 3)] * 20``, which is all that fairseq's own configurations use.
No longer needed when: ``grep -rw eval`` finds no calls in the installed ``fairseq``.
"""

import ast
import operator

from .user_errors import user_error

# Every module of fairseq proper that calls eval; its command line tools use it on their own
# options only.
MODULES = (
    "fairseq.criterions.ctc",
    "fairseq.data.audio.raw_audio_dataset",
    "fairseq.data.codedataset",
    "fairseq.models.fconv",
    "fairseq.models.fconv_lm",
    "fairseq.models.fconv_self_att",
    "fairseq.models.hubert.hubert",
    "fairseq.models.lightconv_lm",
    "fairseq.models.speech_to_text.s2t_wav_transformer",
    "fairseq.models.transformer_lm",
    "fairseq.models.wav2vec.wav2vec",
    "fairseq.models.wav2vec.wav2vec2",
    "fairseq.optim.adafactor",
    "fairseq.optim.adam",
    "fairseq.optim.adamax",
    "fairseq.optim.cpu_adam",
    "fairseq.optim.fused_lamb",
    "fairseq.utils",
)

_OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul}
# Of a repeated list; fairseq's own have 24 entries at most.
_LONGEST = 10_000


def after(module):
    module.eval = evaluate  # a global of that name hides the built-in function


def evaluate(text):
    """The value of a literal, or of literals joined by ``+`` and ``*``.

    Raises:
        ValueError: a user error; the text is something else
    """
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise user_error(
            f"the option value {text!r} is not a number, a string, or a list, tuple or "
            "dictionary of such: nothing else is evaluated"
        ) from error


def _value(node):
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left), _value(node.right)
        for values, times in ((left, right), (right, left)):
            if isinstance(node.op, ast.Mult) and hasattr(values, "__len__") and len(values) * times > _LONGEST:
                raise ValueError("too long")
        return _OPERATORS[type(node.op)](left, right)
    return ast.literal_eval(node)

"""fairseq 0.12.2 on today's Python, PyTorch and NumPy: one file a defect, each naming it.

The mends are applied while the modules concerned are imported (see ``hooks``). ``install`` is
called at interpreter start through ``startup/``, and by the package itself for those who put it
on the path without installing it; calling it again changes nothing.

Nothing here may import the package ``depth_adaptive_fairseq``: ``--user-dir`` is who imports it.
For the same reason this sub-package is loaded on its own, under its usual name, and its modules
say ``from .hooks import ...``: ``from . import hooks`` would import the package as well.
"""

import importlib

from .hooks import install as _install

# What mends, in the order in which it is applied where several concern one module.
MENDS = (
    "pytest_rewriting",
    "typing_io",
    "dataclass_defaults",
    "quiet",
    "user_errors",
    "plain_sentences",
    "safe_checkpoints",
    "safe_loaders",
    "checkpoint_configuration",
    "checkpoint_files",
    "model_sizes",
    "safe_archives",
    "shell_quoting",
    "safe_configuration",
    "checkpoint_writing",
    "crash_checkpoints",
    "encoder_fast_path",
    "numpy_names",
    "bfloat16",
    "bfloat16_attention",
    "fast_path_parameters",
    "distributed_on_cpu",
    "user_dir",
    "hydra_plugins",
    "hydra_error_report",
    "hydra_base_layers",
    "forked_processes",
    "sentence_lines",
    "paired_lines",
    "repeated_ngrams",
    "unfinished_searches",
    "shards",
    "skipped_inputs",
    "dictionary_flags",
    "command_line",
    "text_input",
    "text_encoders",
    "training_start",
    "checkpoint_before_validation",
    "eval_bleu",
    "batch_sizes",
    "sacrebleu_scores",
    "replace_unknowns",
    "generation_options",
    "unknown_options",
    "weights_not_numbers",
    "numpy_percentile",
    "line_ends",
)


def install():
    """Put the mends in place, once. Returns the finder that applies them."""
    return _install(
        lambda: [importlib.import_module(f"{__name__}.{name}") for name in MENDS]
    )

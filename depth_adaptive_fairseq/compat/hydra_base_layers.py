"""``fairseq-hydra-train`` dies at the first save: ``'>' not supported between NoneType and int``.

Concerns: fairseq 0.12.2 with omegaconf 2.0, where asking a configuration for a key that it does
not have yields None instead of the default given: ``getattr(cfg.model, "base_layers", 0) > 0``.
Models without such an option, and ``model: {_name: transformer}``, have no such key.
No longer needed when: such a run saves its first checkpoint.
"""

MODULES = ("fairseq.trainer", "fairseq.distributed.utils")


def after(module):
    module.getattr = get_attribute  # a global of that name hides the built-in function


def get_attribute(owner, name, *default):
    """``getattr``, whose default also stands for a ``base_layers`` that is None."""
    value = getattr(owner, name, *default)
    return default[0] if default and name == "base_layers" and value is None else value

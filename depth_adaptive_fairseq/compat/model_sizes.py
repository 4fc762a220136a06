"""Sizes that lie: a thousand million layers, no heads, positions beyond all memory; tracebacks, or minutes until memory is full.

Concerns: fairseq 0.12.2, which builds whatever its configuration asks for, also where that is a checkpoint's and its weights
have other shapes. Here the sizes are looked at before anything is built: on their own, and beside the weights.
No longer needed when: fairseq checks sizes before it builds a model.
"""

import functools
import math
import re
from argparse import Namespace

from .checkpoint_files import current
from .user_errors import user_error

MODULES = ("fairseq.models",)

_MOST_LAYERS = 10_000
_WIDEST = 1_000_000
# A table of 2**20 sinusoidal positions, as they are computed while a model is built, has 4 GB at a width of 1,024.
_MOST_POSITIONS = 2**20
# Sizes that a checkpoint gives without any weights that show them (an option of another kind of model, say).
_HARMLESS_LAYERS, _HARMLESS_WIDTH, _HARMLESS_NUMBERS = 128, 8192, 2 * 10**8

_WIDTHS = ("dim", "channels", "heads")
_SIZES = ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")


def after(module):
    original = module.build_model

    @functools.wraps(original)
    def build_model(cfg, task, *arguments, **options):
        loading = current()
        subject = f"the configuration of checkpoint {loading.checkpoint}" if loading else "the model's configuration"
        for reason in _misfits(_options(cfg), shapes(loading.weights) if loading else {}):
            raise user_error(f"{subject} does not fit: {reason}")
        return original(cfg, task, *arguments, **options)

    module.build_model = build_model


def _misfits(options, weights):
    """Sentences on what is wrong with the sizes among a model's options.

    Args:
        options: their values by name
        weights: the shapes of a checkpoint's weights by name; empty for a new model
    """
    for side in ("encoder", "decoder"):
        yield from _sizes_of(side, options)
        yield from _unlike_weights(side, options, weights)
    for name in ("max_source_positions", "max_target_positions", "max_positions"):
        positions = options.get(name)
        if _is_number(positions) and not 1 <= positions <= _MOST_POSITIONS:
            yield f"{_option(name)} is {positions}, allowed is 1 to {_MOST_POSITIONS}"
    for name, value in options.items():
        if name.endswith(_WIDTHS) and _is_number(value) and value > _WIDEST:
            yield f"{_option(name)} is {value}, allowed is at most {_WIDEST}"
    if weights:
        yield from _out_of_proportion(options, weights)


def _sizes_of(side, options):
    for name, least, most in zip(_SIZES, (0, 1, 1, 1), (_MOST_LAYERS, _WIDEST, _WIDEST, _WIDEST)):
        value = options.get(f"{side}_{name}")
        if _is_number(value) and not (least <= value <= most and value == int(value)):
            yield f"{_option(f'{side}_{name}')} is {value}, allowed are whole numbers from {least} to {most}"
    width, heads = options.get(f"{side}_embed_dim"), options.get(f"{side}_attention_heads")
    if _is_number(width) and _is_number(heads) and width % heads:
        yield f"{_option(f'{side}_embed_dim')} {width} is no multiple of {_option(f'{side}_attention_heads')} {heads}"


def _unlike_weights(side, options, weights):
    stem = next((stem for stem in (f"{side}.", f"{side}.sentence_encoder.") if _depth(stem, weights)), None)
    if stem is None:
        return
    for name in _SIZES:
        value = options.get(f"{side}_{name}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            yield f"{_option(f'{side}_{name}')} is {value!r}, not a whole number"
            return
    layers, width, inner, _ = (options.get(f"{side}_{name}") for name in _SIZES)
    depth = _depth(stem, weights)
    # With these the number of layers is not that of the weights, but never more.
    fewer = options.get(f"{side}_layers_to_keep") or options.get("base_layers")
    if layers is not None and (layers > depth or layers < depth and not fewer):
        yield f"{_option(f'{side}_layers')} is {layers}, the weights have {depth}"
    pruned = any(options.get(name, -1) not in (-1, None) for name in ("mha_heads_to_keep", "ffn_blocks_to_remove"))
    fc1, norm = (weights.get(f"{stem}layers.0.{name}.weight", ()) for name in ("fc1", "final_layer_norm"))
    if width is not None and len(norm) == 1 and norm[0] != width:
        yield f"{_option(f'{side}_embed_dim')} is {width}, the weights have {norm[0]}"
    if inner is not None and len(fc1) == 2 and fc1[0] != inner and not pruned:
        yield f"{_option(f'{side}_ffn_embed_dim')} is {inner}, the weights have {fc1[0]}"
    name = "max_positions" if stem != f"{side}." else "max_source_positions" if side == "encoder" else "max_target_positions"
    positions, table = options.get(name), weights.get(f"{stem}embed_positions.weight", ())
    # Learned positions are counted from behind the padding symbol's index.
    if _is_number(positions) and len(table) == 2 and not 0 <= table[0] - positions <= 8:
        yield f"{_option(name)} is {positions}, the weights have {table[0]} positions"


def _out_of_proportion(options, weights):
    largest = max((size for shape in weights.values() for size in shape), default=0)
    total = sum(map(math.prod, weights.values()))
    for side in ("encoder", "decoder"):
        layers, width, inner = (options.get(f"{side}_{name}") for name in _SIZES[:3])
        if _is_number(layers) and _is_number(width):
            numbers = layers * width * (4 * width + 2 * (inner if _is_number(inner) else 0))
            if numbers > max(4 * total, _HARMLESS_NUMBERS):
                yield f"{layers} layers of the {side} of width {width} have {numbers} numbers, the weights have {total}"
    for name, value in options.items():
        if not _is_number(value):
            continue
        if name.endswith("layers") and value > max(len(weights), _HARMLESS_LAYERS):
            yield f"{_option(name)} is {value}, there are {len(weights)} weights"
        if name.endswith(_WIDTHS) and value > max(largest, _HARMLESS_WIDTH):
            yield f"{_option(name)} is {value}, the largest size of a weight is {largest}"


def _depth(stem, weights):
    """The number of layers whose weights' names begin with ``stem``."""
    pattern = re.compile(re.escape(stem) + r"layers\.(\d+)\.")
    return 1 + max((int(found.group(1)) for found in map(pattern.match, weights) if found), default=-1)


def shapes(weights):
    """The shapes of the tensors of a checkpoint's model, by name."""
    return {name: tuple(each.shape) for name, each in weights.items() if hasattr(each, "shape")}


def _options(cfg):
    """The options of a model's configuration, of nested ones by the last part of their names."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(cfg):
        try:
            cfg = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        except Exception:  # a reference that leads nowhere, which may well be of no consequence
            cfg = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    if isinstance(cfg, Namespace):
        cfg = vars(cfg)
    if not isinstance(cfg, dict):
        return {}
    options = {}
    for name, value in cfg.items():
        if isinstance(value, dict):
            options.update({f"{name}_{inner}": each for inner, each in _options(value).items()})
        else:
            options[str(name)] = value
    return options


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _option(name):
    return "--" + name.replace("_", "-")

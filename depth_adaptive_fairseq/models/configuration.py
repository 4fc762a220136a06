"""Options of the depth-adaptive Transformer, and its presets.

fairseq's ``TransformerConfig`` is nested (``encoder.layers``), while the command line, named
architectures and hydra need flat names (``encoder_layers``). The flat twin is derived from it here,
field by field, so that an option of fairseq's ``transformer`` is never missing or different.
"""

from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from typing import List, Optional, Tuple

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models.transformer import TransformerConfig

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.modules.halting import HALTING_KINDS

# fairseq declares these as lists of integers but splits them as text.
_TEXT_OPTIONS = {"encoder_layers_to_keep", "decoder_layers_to_keep"}
# By default equal to the decoder's width: None says so without an interpolation into the whole configuration.
_DECODER_WIDTH_OPTIONS = {"decoder_input_dim", "decoder_output_dim"}


def _flat_fields(config_class: type, prefix: str = "") -> List[Tuple[str, type, object]]:
    flat = []
    for option in fields(config_class):
        if option.name == "_name":
            continue
        name = prefix + option.name
        if is_dataclass(option.type):
            flat += _flat_fields(option.type, prefix=f"{name}_")
            continue
        kind, default = option.type, option.default
        if name in _TEXT_OPTIONS:
            kind = Optional[str]
        elif name in _DECODER_WIDTH_OPTIONS:
            kind, default = Optional[int], None
        if default is MISSING:
            raise TypeError(f"fairseq's transformer option {name} has no default")
        flat.append((name, kind, field(default=default, metadata=dict(option.metadata))))
    return flat


FlatTransformerConfig = make_dataclass(
    "FlatTransformerConfig", _flat_fields(TransformerConfig), bases=(FairseqDataclass,)
)
FlatTransformerConfig.__module__ = __name__
FlatTransformerConfig.__doc__ = "All options of fairseq's ``transformer``, with flat names."


@dataclass
class DepthAdaptiveTransformerConfig(FlatTransformerConfig):
    """fairseq's ``transformer`` in its base sizes, with an exit behind every decoder block."""

    share_exit_classifiers: bool = field(
        default=False,
        metadata={"help": "one output matrix for the classifiers of all exits (the paper's WMT setting)"},
    )
    halting: ChoiceEnum(HALTING_KINDS) = field(
        default="none",
        metadata={
            "help": "a classifier that predicts the exit: one for the sentence, from the encoder (sequence); one for each "
            "token, from block 1 (multinomial); a decision behind every block (geometric)"
        },
    )
    halting_per_block: bool = field(
        default=False, metadata={"help": "geometric: a halting classifier of its own for each block"}
    )
    gradient_scaling: float = field(
        default=0.0, metadata={"help": "gamma of gradient scaling (appendix A), 0 for none"}
    )


@dataclass
class IwsltDeEnConfig(DepthAdaptiveTransformerConfig):
    """The paper's IWSLT'14 De-En model (section 4.1): untied classifiers, a narrow decoder."""

    dropout: float = 0.3
    encoder_embed_dim: Optional[int] = 512
    encoder_ffn_embed_dim: int = 1024
    encoder_attention_heads: int = 4
    decoder_embed_dim: Optional[int] = 256
    decoder_ffn_embed_dim: int = 1024
    decoder_attention_heads: int = 4


@dataclass
class WmtEnFrBigConfig(DepthAdaptiveTransformerConfig):
    """The paper's WMT'14 En-Fr model (section 4.2): Transformer big, one matrix for all embeddings and exits."""

    dropout: float = 0.1
    encoder_embed_dim: Optional[int] = 1024
    encoder_ffn_embed_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_embed_dim: Optional[int] = 1024
    decoder_ffn_embed_dim: int = 4096
    decoder_attention_heads: int = 16
    share_all_embeddings: bool = True
    share_exit_classifiers: bool = True


@dataclass
class TinyConfig(DepthAdaptiveTransformerConfig):
    """Small enough to train within minutes on a CPU: tests and the quickstart."""

    encoder_layers: int = 3
    encoder_embed_dim: Optional[int] = 64
    encoder_ffn_embed_dim: int = 128
    encoder_attention_heads: int = 4
    decoder_layers: int = 6
    decoder_embed_dim: Optional[int] = 64
    decoder_ffn_embed_dim: int = 128
    decoder_attention_heads: int = 4


def to_transformer_config(options) -> TransformerConfig:
    """Translate flat *options* (configuration or namespace) into the nested form that fairseq's modules take.

    Raises:
        DepthAdaptiveError: an option that cannot be combined with exits (see :func:`refuse_unsupported`).
    """
    config = TransformerConfig.from_namespace(options)
    # from_namespace fixes these two from the class's default width, whatever the width given.
    for name in ("input_dim", "output_dim"):
        width = getattr(options, f"decoder_{name}", None)
        setattr(config.decoder, name, int(width or config.decoder.embed_dim))
    config.share_exit_classifiers = bool(getattr(options, "share_exit_classifiers", False))
    config.halting = str(getattr(options, "halting", "none"))
    config.halting_per_block = bool(getattr(options, "halting_per_block", False))
    config.gradient_scaling = float(getattr(options, "gradient_scaling", 0.0))
    refuse_unsupported(config)
    return config


def refuse_unsupported(config: TransformerConfig) -> None:
    """Raise a :class:`DepthAdaptiveError` that names the first option which an N-exit decoder cannot honour."""
    if config.decoder.layerdrop:
        raise DepthAdaptiveError(
            f"--decoder-layerdrop {config.decoder.layerdrop} was given; every exit needs its block at each step, "
            "so only 0 is allowed: leave the option out."
        )
    if config.decoder.layers_to_keep:
        raise DepthAdaptiveError(
            f"--decoder-layers-to-keep {config.decoder.layers_to_keep} was given; exits belong to the blocks that were "
            "trained, so none can be removed: decode with --exit-policy fixed --exit-at n for a shallower model."
        )
    if config.adaptive_softmax_cutoff is not None:
        raise DepthAdaptiveError(
            f"--adaptive-softmax-cutoff {config.adaptive_softmax_cutoff} was given; exits compare whole output "
            "distributions, so an adaptive softmax is not allowed: leave the option out."
        )
    if config.base_layers:
        raise DepthAdaptiveError(
            f"--base-layers {config.base_layers} was given; BASE layers have no self-attention to copy states into, "
            "so only 0 is allowed: leave the option out."
        )
    if config.decoder.layers < 1:
        raise DepthAdaptiveError(
            f"--decoder-layers {config.decoder.layers} was given; a model with exits needs at least 1 block."
        )
    if config.halting not in HALTING_KINDS:
        raise DepthAdaptiveError(
            f"--halting {config.halting} was given; the kinds are {', '.join(HALTING_KINDS)}: choose one of them."
        )
    if config.halting_per_block and config.halting != "geometric":
        raise DepthAdaptiveError(
            f"--halting-per-block was given with --halting {config.halting}; only geometric decides behind every block: "
            "give --halting geometric, or leave the option out."
        )
    if config.gradient_scaling < 0:
        raise DepthAdaptiveError(
            f"--gradient-scaling {config.gradient_scaling} was given; give gamma, above 0, or 0 for none."
        )
    shares_embedding = config.share_decoder_input_output_embed or config.share_all_embeddings
    if shares_embedding and not config.share_exit_classifiers:
        option = "--share-all-embeddings" if config.share_all_embeddings else "--share-decoder-input-output-embed"
        raise DepthAdaptiveError(
            f"{option} was given without --share-exit-classifiers; one embedding matrix cannot be the weight of several "
            "separate exit classifiers: add --share-exit-classifiers, or leave the option out."
        )

"""The architectures ``depth_adaptive_transformer`` and its presets."""

import copy

from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model
from fairseq.models.transformer import TransformerModelBase

from depth_adaptive_fairseq.models.configuration import (
    DepthAdaptiveTransformerConfig,
    IwsltDeEnConfig,
    TinyConfig,
    WmtEnFrBigConfig,
    to_transformer_config,
)
from depth_adaptive_fairseq.modules.decoder import DepthAdaptiveDecoder
from depth_adaptive_fairseq.modules.encoder import DepthAdaptiveEncoder


@register_model("depth_adaptive_transformer", dataclass=DepthAdaptiveTransformerConfig)
class DepthAdaptiveTransformerModel(TransformerModelBase):
    """A Transformer whose decoder can stop after any block (section 2.1 of the paper).

    The encoder is fairseq's. Trained and validated through all exits by ``depth_adaptive_cross_entropy``, decoded
    with an exit per token by the task ``depth_adaptive_translation``; to everything else it is a plain
    Transformer of full depth.
    """

    config_class = DepthAdaptiveTransformerConfig

    @classmethod
    def add_args(cls, parser) -> None:
        """Declare the flat options; defaults stay with the dataclass, so that each preset keeps its own.

        They are declared from the base sizes for presets too: fairseq would turn a flag that a preset sets, such as
        ``--share-exit-classifiers``, into one that unsets it.
        """
        gen_parser_from_dataclass(parser, DepthAdaptiveTransformerConfig(), delete_default=True)

    @classmethod
    def build_model(cls, cfg, task):
        """Build the model from flat options.

        Raises:
            DepthAdaptiveError: options that an N-exit decoder cannot honour.
        """
        return super().build_model(to_transformer_config(cfg), task)

    @classmethod
    def build_encoder(cls, cfg, src_dict, embed_tokens):
        return DepthAdaptiveEncoder(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, cfg, tgt_dict, embed_tokens):
        return DepthAdaptiveDecoder(cfg, tgt_dict, embed_tokens, no_encoder_attn=cfg.no_cross_attention)

    def forward(self, src_tokens, src_lengths, prev_output_tokens, exit_paths=None, **kwargs):
        """As fairseq's Transformer; with *exit_paths*, ``(batch, M, tgt_len)``, the decoder's pass along those exits.

        Through here also in mixed training, so that distributed wrappers see the pass.
        """
        if exit_paths is None:
            return super().forward(src_tokens, src_lengths, prev_output_tokens, **kwargs)
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out, exit_paths=exit_paths)

    def prepare_for_inference_(self, cfg):
        """As fairseq's, which may wake dropouts up (``--retain-dropout``)."""
        super().prepare_for_inference_(cfg)
        for part in (self.encoder, self.decoder):
            part.drop_derived_state()

    def load_state_dict(self, state_dict, *args, **kwargs):
        """As fairseq's, which renames entries of old checkpoints; the caller's dictionary stays as it is."""
        return super().load_state_dict(copy.copy(state_dict), *args, **kwargs)


# Presets are models of their own, not named architectures, so that hydra's `model: {_name: ...}` finds their sizes too.


@register_model("depth_adaptive_transformer_iwslt_de_en", dataclass=IwsltDeEnConfig)
class DepthAdaptiveTransformerIwsltDeEn(DepthAdaptiveTransformerModel):
    """:class:`IwsltDeEnConfig`'s sizes."""

    config_class = IwsltDeEnConfig


@register_model("depth_adaptive_transformer_wmt_en_fr_big", dataclass=WmtEnFrBigConfig)
class DepthAdaptiveTransformerWmtEnFrBig(DepthAdaptiveTransformerModel):
    """:class:`WmtEnFrBigConfig`'s sizes."""

    config_class = WmtEnFrBigConfig


@register_model("depth_adaptive_transformer_tiny", dataclass=TinyConfig)
class DepthAdaptiveTransformerTiny(DepthAdaptiveTransformerModel):
    """:class:`TinyConfig`'s sizes."""

    config_class = TinyConfig

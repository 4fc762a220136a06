"""The N-exit decoder: fairseq's Transformer decoder with an output classifier behind every block."""

import copy
from typing import Optional

from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.derived_state import KeepsDerivedState
from depth_adaptive_fairseq.modules.exit_classifier import ExitClassifier
from depth_adaptive_fairseq.modules.exit_paths import run_exit_paths
from depth_adaptive_fairseq.modules.gradient_scaling import scale_gradients_between_blocks
from depth_adaptive_fairseq.modules.halting import build_halting
from depth_adaptive_fairseq.modules.halting_checkpoint import fit_halting


class DepthAdaptiveDecoder(KeepsDerivedState, TransformerDecoderBase):
    """A Transformer decoder of N blocks and N exits (section 2.1 of the paper).

    It is a full-depth decoder to anything that does not know about exits: ``forward`` returns the logits of
    exit N. The raw outputs h^1 .. h^N of all blocks come along in ``extra["inner_states"][1:]``, each
    ``(tgt_len, batch, width)``, and :meth:`exit_classifier` turns any of them into logits. A model with a halting
    classifier adds ``extra["halting_logits"]``, the logits of q_t, outside of incremental decoding.

    Attributes:
        exit_classifiers: N classifiers, or a single one that all exits share (``--share-exit-classifiers``).
        halting: the halting classifier (``--halting``), or None.
        num_updates: how many updates the model has been trained for, as far as fairseq has told it.
    """

    # What stock fairseq calls the parts of its single classifier, and what they are called here.
    STOCK_NAMES = {
        "output_projection": "projection",
        "layer_norm": "layer_norm",
        "project_out_dim": "project_out",
    }

    def __init__(self, cfg, dictionary, embed_tokens, no_encoder_attn=False):
        super().__init__(cfg, dictionary, embed_tokens, no_encoder_attn=no_encoder_attn)
        self.num_updates = 0
        self.halting = build_halting(
            cfg.halting, cfg.encoder.embed_dim, self.embed_dim, self.num_exits, cfg.halting_per_block
        )
        if cfg.gradient_scaling > 0:
            scale_gradients_between_blocks(self.layers, cfg.gradient_scaling)
        self.gradient_scaling = cfg.gradient_scaling

    def set_num_updates(self, num_updates: int) -> None:
        """Take note of training's progress (called by fairseq before every update)."""
        self.num_updates = num_updates

    def build_output_projection(self, cfg, dictionary, embed_tokens) -> None:
        """Build the classifiers of all exits in the place of the stock decoder's single one."""
        # The final norm and the width projection, built by the stock constructor, belong to the classifiers.
        layer_norm, self.layer_norm = self.layer_norm, None
        project_out, self.project_out_dim = self.project_out_dim, None

        def new_classifier(norm, projection_in) -> ExitClassifier:
            projection = nn.Linear(self.output_embed_dim, len(dictionary), bias=False)
            if self.share_input_output_embed:
                projection.weight = embed_tokens.weight
            else:
                nn.init.normal_(projection.weight, mean=0, std=self.output_embed_dim**-0.5)
            return ExitClassifier(projection, norm, projection_in)

        copies = 1 if cfg.share_exit_classifiers else cfg.decoder.layers
        self.exit_classifiers = nn.ModuleList(
            new_classifier(copy.deepcopy(layer_norm), copy.deepcopy(project_out)) for _ in range(copies)
        )

    @property
    def num_exits(self) -> int:
        """N, the number of blocks and exits."""
        return len(self.layers)

    def exit_classifier(self, exit_index: int) -> ExitClassifier:
        """The classifier C_n of exit *exit_index*, counted from 1."""
        if not 1 <= exit_index <= self.num_exits:
            raise IndexError(f"exit {exit_index} was asked for; the decoder's exits are 1 to {self.num_exits}")
        return self.exit_classifiers[0 if len(self.exit_classifiers) == 1 else exit_index - 1]

    def output_layer(self, features: Tensor) -> Tensor:
        """Logits of the last exit from its raw features, ``(..., width)``: what a full-depth decoder predicts."""
        return self.exit_classifier(self.num_exits)(features)

    def embed(self, tokens: Tensor) -> Tensor:
        """h^0 of *tokens*, ``(batch, tgt_len)``: ``(batch, tgt_len, width)``."""
        return self._embed(tokens, None if self.embed_positions is None else self.embed_positions(tokens))

    def embed_newest(self, newest: Tensor, step: int) -> Tensor:
        """h^0 of each row's *newest* token, ``(batch,)``, the one at position *step* (from 0): ``(batch, width)``."""
        tokens, positions = newest.unsqueeze(1), None
        if self.embed_positions is not None:
            # An incremental state, even an empty one, asks fairseq for the last position only; it reads but the length.
            positions = self.embed_positions(tokens.expand(-1, step + 1), incremental_state={})
        return self._embed(tokens, positions).squeeze(1)

    def _embed(self, tokens: Tensor, positions: Optional[Tensor]) -> Tensor:
        hidden = self.embed_scale * self.embed_tokens(tokens)
        if self.quant_noise is not None:
            hidden = self.quant_noise(hidden)
        if self.project_in_dim is not None:
            hidden = self.project_in_dim(hidden)
        if positions is not None:
            hidden = hidden + positions
        if self.layernorm_embedding is not None:
            hidden = self.layernorm_embedding(hidden)
        return self.dropout_module(hidden)

    def extract_features(self, prev_output_tokens, encoder_out=None, incremental_state=None, *args, **kwargs):
        """fairseq's features and extra outputs, and the logits of the halting classifier among the latter."""
        features, extra = super().extract_features(
            prev_output_tokens, encoder_out, incremental_state, *args, **kwargs
        )
        if self.halting is not None and incremental_state is None:
            hidden = [state.transpose(0, 1) for state in extra["inner_states"][1:]]
            extra["halting_logits"] = self.halting(hidden, encoder_out)  # (batch, tgt_len or 1, N; geometric: N - 1)
        return features, extra

    def forward(self, prev_output_tokens, *args, exit_paths: Optional[Tensor] = None, encoder_out=None, **kwargs):
        """As fairseq's decoder; with *exit_paths*, ``(batch, M, tgt_len)``, along those exits (mixed training).

        Then the result is the state with which each position left, ``(batch, M, tgt_len, width)``, and no extra.
        """
        if exit_paths is not None:
            return run_exit_paths(self, prev_output_tokens, encoder_out, exit_paths)[-1], {}
        return super().forward(prev_output_tokens, *args, encoder_out=encoder_out, **kwargs)

    def upgrade_state_dict_named(self, state_dict, name):
        """Make a checkpoint of another decoder fit this one (warm start).

        A stock decoder's single classifier starts every exit. For the halting classifier see
        :func:`~depth_adaptive_fairseq.modules.halting_checkpoint.fit_halting`.
        """
        super().upgrade_state_dict_named(state_dict, name)
        prefix = f"{name}." if name else ""
        if state_dict[f"{prefix}version"].item() <= 2:
            # Checkpoints of that age come from decoders without a final norm.
            for classifier in self.exit_classifiers:
                classifier.layer_norm = None
        for stock, ours in self.STOCK_NAMES.items():
            for kind in ("weight", "bias"):
                tensor = state_dict.pop(f"{prefix}{stock}.{kind}", None)
                if tensor is None:
                    continue
                for index in range(len(self.exit_classifiers)):
                    state_dict.setdefault(f"{prefix}exit_classifiers.{index}.{ours}.{kind}", tensor)
        fit_halting(self.halting, state_dict, f"{prefix}halting.")
        return state_dict

"""The N-exit decoder: fairseq's Transformer decoder with an output classifier behind every block."""

import copy
from typing import List, Tuple

from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn

from depth_adaptive_fairseq.modules.exit_classifier import ExitClassifier


class DepthAdaptiveDecoder(TransformerDecoderBase):
    """A Transformer decoder of N blocks and N exits (section 2.1 of the paper).

    It is a full-depth decoder to anything that does not know about exits: ``forward`` returns the logits of
    exit N. The raw outputs h^1 .. h^N of all blocks come along in ``extra["inner_states"][1:]``, each
    ``(tgt_len, batch, width)``, and :meth:`exit_classifier` turns any of them into logits.

    Attributes:
        exit_classifiers: N classifiers, or a single one that all exits share (``--share-exit-classifiers``).
    """

    # What stock fairseq calls the parts of its single classifier, and what they are called here.
    _STOCK_NAMES = {
        "output_projection": "projection",
        "layer_norm": "layer_norm",
        "project_out_dim": "project_out",
    }

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

    def block_outputs(self, prev_output_tokens: Tensor, encoder_out) -> Tuple[List[Tensor], dict]:
        """Run all blocks on all positions (teacher forcing).

        Returns:
            h^1 .. h^N, each ``(batch, tgt_len, width)``, and the stock decoder's extra outputs.
        """
        _, extra = self.extract_features(prev_output_tokens, encoder_out)
        return [hidden.transpose(0, 1) for hidden in extra["inner_states"][1:]], extra

    def upgrade_state_dict_named(self, state_dict, name):
        """Rename a stock decoder's single classifier: it starts every exit (warm start)."""
        super().upgrade_state_dict_named(state_dict, name)
        prefix = f"{name}." if name else ""
        if state_dict[f"{prefix}version"].item() <= 2:
            # Checkpoints of that age come from decoders without a final norm.
            for classifier in self.exit_classifiers:
                classifier.layer_norm = None
        for stock, ours in self._STOCK_NAMES.items():
            for kind in ("weight", "bias"):
                tensor = state_dict.pop(f"{prefix}{stock}.{kind}", None)
                if tensor is None:
                    continue
                for index in range(len(self.exit_classifiers)):
                    state_dict.setdefault(f"{prefix}exit_classifiers.{index}.{ours}.{kind}", tensor)
        return state_dict

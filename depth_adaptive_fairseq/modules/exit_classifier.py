"""The output classifier behind an exit."""

from typing import Optional

from torch import Tensor, nn


class ExitClassifier(nn.Module):
    """C_n: from a block's output h^n to logits over the vocabulary (section 2.1).

    Args:
        projection: W_n, the output matrix.
        layer_norm: the final layer norm of a pre-norm decoder, which each exit applies before W_n.
        project_out: the projection to ``--decoder-output-dim`` where it differs from the decoder's width.
    """

    def __init__(
        self,
        projection: nn.Linear,
        layer_norm: Optional[nn.Module] = None,
        project_out: Optional[nn.Module] = None,
    ):
        super().__init__()
        self.layer_norm = layer_norm
        self.project_out = project_out
        self.projection = projection

    def forward(self, hidden: Tensor) -> Tensor:
        """Map the raw block output, ``(..., decoder width)``, to logits, ``(..., vocabulary)``."""
        if self.layer_norm is not None:
            hidden = self.layer_norm(hidden)
        if self.project_out is not None:
            hidden = self.project_out(hidden)
        return self.projection(hidden)

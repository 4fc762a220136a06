"""fairseq's Transformer encoder, which keeps what inference derives from its weights."""

from fairseq.models.transformer import TransformerEncoderBase

from depth_adaptive_fairseq.modules.derived_state import KeepsDerivedState


class DepthAdaptiveEncoder(KeepsDerivedState, TransformerEncoderBase):
    """The encoder always runs whole (section 2.1): all that it adds to fairseq's is a place for packed weights."""

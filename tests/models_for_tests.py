"""Small random models, batches and generators, as tests need them."""

from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import List, Optional, Sequence

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModelBase
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from depth_adaptive_fairseq.models.configuration import DepthAdaptiveTransformerConfig, to_transformer_config
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel
from depth_adaptive_fairseq.tasks.depth_adaptive_translation import (
    DepthAdaptiveTranslationConfig,
    DepthAdaptiveTranslationTask,
)

PAD, EOS, UNK, FIRST_WORD = 1, 2, 3, 4


@dataclass(frozen=True)
class ModelOptions:
    """Options of a small model, named as on the command line; *seed* draws its weights."""

    seed: int = 0
    vocabulary: int = 24
    encoder_layers: int = 1
    decoder_layers: int = 3
    encoder_embed_dim: int = 16
    decoder_embed_dim: int = 16
    decoder_output_dim: Optional[int] = None
    encoder_ffn_embed_dim: int = 16
    decoder_ffn_embed_dim: int = 16
    encoder_attention_heads: int = 2
    decoder_attention_heads: int = 2
    encoder_normalize_before: bool = False
    decoder_normalize_before: bool = False
    no_decoder_final_norm: bool = False
    share_exit_classifiers: bool = False
    share_decoder_input_output_embed: bool = False
    decoder_learned_pos: bool = False
    no_token_positional_embeddings: bool = False
    no_scale_embedding: bool = False
    layernorm_embedding: bool = False
    cross_self_attention: bool = False
    no_cross_attention: bool = False
    activation_fn: str = "relu"
    halting: str = "none"
    halting_per_block: bool = False

    def config(self) -> DepthAdaptiveTransformerConfig:
        options = asdict(self)
        for name in ("seed", "vocabulary"):
            del options[name]
        return DepthAdaptiveTransformerConfig(**options, max_source_positions=64, max_target_positions=64)


def make_dictionary(size: int) -> Dictionary:
    """A dictionary of *size* entries: fairseq's four special ones, then words."""
    dictionary = Dictionary()
    for index in range(size - len(dictionary)):
        dictionary.add_symbol(f"w{index}")
    return dictionary


def make_task(vocabulary: int) -> DepthAdaptiveTranslationTask:
    """The project's task, source and target of *vocabulary* entries."""
    dictionary = make_dictionary(vocabulary)
    return DepthAdaptiveTranslationTask(DepthAdaptiveTranslationConfig(), dictionary, dictionary)


def make_model(options: ModelOptions, dtype: torch.dtype = torch.float64) -> DepthAdaptiveTransformerModel:
    """A random model in evaluation mode.

    float64 keeps an implementation's rounding away from decisions; fairseq's softmax stays float32 in any case.
    """
    torch.manual_seed(options.seed)
    model = DepthAdaptiveTransformerModel.build_model(options.config(), make_task(options.vocabulary))
    return _spread_weights(model).eval().to(dtype)


def make_stock_model(options: ModelOptions, dtype: torch.dtype = torch.float64) -> TransformerModelBase:
    """fairseq's own ``transformer`` of the same sizes."""
    torch.manual_seed(options.seed)
    model = TransformerModelBase.build_model(to_transformer_config(options.config()), make_task(options.vocabulary))
    return _spread_weights(model).eval().to(dtype)


@torch.no_grad()
def _spread_weights(model):
    """Move the weights away from where fairseq starts them.

    There, all norms and biases are alike, so that one could stand in for another, and all predictions are about equally
    likely, so that searches end in ties.
    """
    for name, parameter in model.named_parameters():
        if "projection.weight" in name:
            parameter.mul_(2.0)
        elif parameter.dim() > 1:
            parameter.mul_(1.5)
        else:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def make_sample(sources: Sequence[Sequence[int]], padding: str = "left") -> dict:
    """A batch of *sources*, padded on the ``left``, on the ``right``, or ``mixed``: left and right by turns."""
    width = max(map(len, sources))
    rows = []
    for index, source in enumerate(sources):
        pads = [PAD] * (width - len(source))
        left = padding == "left" or (padding == "mixed" and index % 2 == 0)
        rows.append(pads + list(source) if left else list(source) + pads)
    src_tokens = torch.tensor(rows)
    return {
        "id": torch.arange(len(rows)),
        "net_input": {"src_tokens": src_tokens, "src_lengths": src_tokens.ne(PAD).sum(dim=1)},
    }


def random_sources(seed: int, lengths: Sequence[int], vocabulary: int = 24) -> List[List[int]]:
    """Source sentences of random words, of the given *lengths* with their end of sentence."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(FIRST_WORD, vocabulary, (length - 1,), generator=generator).tolist() + [EOS] for length in lengths
    ]


def make_prefixes(prefixes: Sequence[Sequence[int]]) -> torch.Tensor:
    """Forced prefixes as ``prefix_tokens``, padded on the right."""
    width = max(map(len, prefixes))
    return torch.tensor([list(prefix) + [PAD] * (width - len(prefix)) for prefix in prefixes])


def make_generator(models: Sequence, *, extra: Optional[dict] = None, **options):
    """The project's generator for *options* of fairseq's and the project's."""
    task = make_task(len(models[0].decoder.dictionary))
    return task.build_generator(list(models), Namespace(**options), extra_gen_cls_kwargs=extra)


def make_stock_generator(models: Sequence, *, extra: Optional[dict] = None, **options):
    """fairseq's own generator for *options* of fairseq's."""
    dictionary = models[0].decoder.dictionary
    task = TranslationTask(TranslationConfig(), dictionary, dictionary)
    return task.build_generator(list(models), Namespace(**options), extra_gen_cls_kwargs=extra)

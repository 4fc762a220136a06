"""Small models and batches that several tests build."""

from argparse import Namespace

import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens

from depth_adaptive_fairseq.models.configuration import TinyConfig
from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel


def small_dictionary(words: int = 20) -> Dictionary:
    """A dictionary of *words* words and fairseq's special tokens."""
    dictionary = Dictionary()
    for number in range(words):
        dictionary.add_symbol(f"w{number}")
    return dictionary


def small_task(dictionary: Dictionary) -> Namespace:
    """What building a model or a criterion asks of a task."""
    return Namespace(source_dictionary=dictionary, target_dictionary=dictionary)


def small_config(**options) -> TinyConfig:
    """A configuration of 2 encoder and 3 decoder blocks, 16 wide, without dropout."""
    config = TinyConfig()
    defaults = dict(
        encoder_layers=2,
        decoder_layers=3,
        encoder_embed_dim=16,
        decoder_embed_dim=16,
        encoder_ffn_embed_dim=24,
        decoder_ffn_embed_dim=24,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        dropout=0.0,
    )
    for name, value in {**defaults, **options}.items():
        if not hasattr(config, name):
            raise AttributeError(f"no option {name}")
        setattr(config, name, value)
    return config


def small_model(dictionary: Dictionary, seed: int = 0, **options) -> DepthAdaptiveTransformerModel:
    """A random model of :func:`small_config`."""
    torch.manual_seed(seed)
    return DepthAdaptiveTransformerModel.build_model(small_config(**options), small_task(dictionary))


def random_sample(dictionary: Dictionary, lengths, seed: int = 0) -> dict:
    """A batch of random sentence pairs; *lengths* are (source, target) pairs, end of sentence not counted."""
    generator = torch.Generator().manual_seed(seed)
    pad, eos = dictionary.pad(), dictionary.eos()

    def sentence(length):
        words = torch.randint(dictionary.nspecial, len(dictionary), (length,), generator=generator)
        return torch.cat([words, torch.tensor([eos])])

    source = [sentence(length) for length, _ in lengths]
    target = [sentence(length) for _, length in lengths]
    return {
        "id": torch.arange(len(lengths)),
        "nsentences": len(lengths),
        "ntokens": sum(len(each) for each in target),
        "net_input": {
            "src_tokens": collate_tokens(source, pad, left_pad=True),
            "src_lengths": torch.tensor([len(each) for each in source]),
            "prev_output_tokens": collate_tokens(target, pad, eos, move_eos_to_beginning=True),
        },
        "target": collate_tokens(target, pad),
    }

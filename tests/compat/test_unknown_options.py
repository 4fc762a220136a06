"""Misspelt names in Python or JSON are refused, with the name that was meant."""

from types import SimpleNamespace

import pytest
from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.models.transformer import TransformerModel
from fairseq.tasks.translation import TranslationTask
from fairseq.tasks.translation_lev import TranslationLevenshteinTask

from depth_adaptive_fairseq.compat.unknown_options import refuse_unknown_generation_options


@pytest.fixture(scope="module")
def hub(checkpoint, data):
    return TransformerModel.from_pretrained(str(checkpoint.parent), checkpoint.name, str(data))


@pytest.mark.parametrize(
    "options, part", [(dict(beem=3), "did you mean beam"), (dict(nbest=2), "does nothing"), (dict(replace_unk="x"), "does nothing")], ids=str
)
def test_keywords_of_the_hub_interface(hub, options, part):
    for translate in (hub.translate, hub.sample):
        with pytest.raises(ValueError, match=part) as raised:
            translate("a b", **options)
        assert raised.value.is_user_error


def test_known_keywords_of_the_hub_interface(hub):
    options = dict(beam=2, lenpen=0.5, max_len_b=5, verbose=False, skip_invalid_size_inputs=True, no_repeat_ngram_size=3)
    assert isinstance(hub.translate("a b", **options), str)


@pytest.mark.parametrize("name, meant", [("encoder_layer", "encoder_layers"), ("dat", "data"), ("qqqqqq", "")])
def test_overrides_of_a_checkpoint(checkpoint, name, meant):
    with pytest.raises(ValueError, match=f"{name} was given.*{meant}") as raised:
        load_checkpoint_to_cpu(str(checkpoint), {name: 1})
    assert raised.value.is_user_error


def test_known_overrides_of_a_checkpoint(checkpoint):
    """Of this checkpoint's model; of a subword model it did not name; of an architecture without a dataclass (RoBERTa's hub interface)."""
    overrides = {"dropout": 0.3, "data": "x", "bpe_codes": "codes", "bpe": "fastbpe", "load_checkpoint_heads": True, "user_dir": None}
    state = load_checkpoint_to_cpu(str(checkpoint), overrides)
    assert state["cfg"].model.dropout == 0.3


def test_tasks_with_options_of_their_own():
    """A task with a generator of its own may read its own options, too; one that says what it reads is held to that."""
    cfg = {"its_own": 1}
    refuse_unknown_generation_options(TranslationLevenshteinTask(cfg, None, None), {"its_own": 2, "iter_decode_max_iter": 3}, "here")
    with pytest.raises(ValueError, match="here: its_own was given"):
        refuse_unknown_generation_options(TranslationTask(SimpleNamespace(**cfg), None, None), {"its_own": 2}, "here")
    declared = TranslationTask(SimpleNamespace(**cfg), None, None)
    declared.generator_options = {"declared"}
    refuse_unknown_generation_options(declared, {"declared": 2, "beam": 3}, "here")

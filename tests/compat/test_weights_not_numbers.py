"""A model that is no numbers ends in a sentence, at once or where its search finds nothing."""

import pytest
import torch

from tests.models_for_tests import ModelOptions, make_generator, make_model, make_sample, make_stock_generator, make_stock_model

OPTIONS = ModelOptions()
KINDS = pytest.mark.parametrize(
    "make, build", [(make_stock_model, make_stock_generator), (make_model, make_generator)], ids=["stock", "adaptive"]
)


def broken(make, value):
    """A model whose last block's feed-forward layer holds *value*."""
    model = make(OPTIONS, torch.float32)
    with torch.no_grad():
        model.decoder.layers[-1].fc2.weight.fill_(value)
        model.decoder.layers[-1].fc1.bias.fill_(1e30)  # overflows with large, but finite, weights
    return model


@KINDS
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_at_once(make, build, value):
    with pytest.raises(ValueError, match=r"decoder\.layers\.2\.fc2\.weight holds NaN or infinity") as raised:
        build([broken(make, value)])
    assert raised.value.is_user_error


@pytest.mark.parametrize("options", [dict(), dict(no_repeat_ngram_size=2), dict(diverse_beam_groups=1)], ids=str)
@KINDS
def test_a_search_that_finds_nothing(make, build, options):
    """The weights are numbers, but what comes of them is not."""
    model = broken(make, 3e38)
    generator = build([model], beam=2, max_len_b=4, **options)
    with pytest.raises(ValueError, match="sentence 0 has no translation .* probabilities are no numbers") as raised:
        generator.generate([model], make_sample([[5, 6, 7], [8, 9]]))
    assert raised.value.is_user_error


def test_weights_that_stop_being_numbers():
    """As in a training with --eval-bleu, whose generator is built before its first update."""
    model = make_model(OPTIONS, torch.float32)
    generator = make_generator([model], beam=2, max_len_b=4, decoding_kernels="torch")
    with torch.no_grad():
        model.decoder.layers[-1].fc2.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="holds NaN or infinity") as raised:
        generator.generate([model], make_sample([[5, 6, 7]]))
    assert raised.value.is_user_error

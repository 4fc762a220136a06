"""Packed weights are the model's own: what changes it drops them, and none are kept when it is gone."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from depth_adaptive_fairseq.inference.linear import LinearFormat
from depth_adaptive_fairseq.inference.packed_weights import packed_weights
from depth_adaptive_fairseq.modules import derived_state
from tests.models_for_tests import ModelOptions, make_generator, make_model, make_sample
from tests.small_models import small_dictionary, small_model

DICTIONARY = small_dictionary(8)
NATIVE = LinearFormat(native=True)


def keys(model) -> torch.Tensor:
    """What the first block's packed self-attention makes of a vector of ones."""
    return packed_weights(model.decoder).blocks[0].qkv(torch.ones(1, model.decoder.embed_dim))


def a_step(model, part):
    optimizer = torch.optim.SGD(part.parameters(), lr=1.0)
    for parameter in part.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def a_step_of_fairseqs_adam(model, part):
    """It writes through ``.data``, which no version counter sees."""
    from fairseq.optim.adam import Adam

    optimizer = Adam(part.parameters(), lr=1.0)
    for parameter in part.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def loading(model, part):
    part.load_state_dict({name: value + 1 if value.is_floating_point() else value for name, value in part.state_dict().items()})


def loading_by_assignment(model, part):
    state = {name: value + 1 if value.is_floating_point() else value for name, value in part.state_dict().items()}
    nn.Module.load_state_dict(part, state, assign=True)


def in_another_precision(model, part):
    with torch.no_grad():
        part.bfloat16().float()


CHANGES = [a_step, a_step_of_fairseqs_adam, loading, loading_by_assignment, in_another_precision]


@pytest.mark.parametrize("whole", [True, False], ids=["model", "decoder"])
@pytest.mark.parametrize("change", CHANGES)
def test_dropped_when_weights_change(change, whole):
    model = small_model(DICTIONARY, 1).eval()
    before = keys(model)
    change(model, model if whole else model.decoder)
    assert not torch.equal(keys(model), before)


def test_dropped_when_training_begins_and_ends():
    model = small_model(DICTIONARY, 1).eval()
    before = packed_weights(model.decoder)
    model.eval()
    assert packed_weights(model.decoder) is before, "nothing has changed"
    model.train()
    model.eval()
    assert packed_weights(model.decoder) is not before


def test_dropped_when_dropouts_may_wake_up():
    model = small_model(DICTIONARY, 1).eval()
    before = packed_weights(model.decoder), packed_weights(model.encoder)
    from fairseq.dataclass.configs import FairseqConfig

    model.prepare_for_inference_(FairseqConfig())
    assert packed_weights(model.decoder) is not before[0] and packed_weights(model.encoder) is not before[1]


def edit_in_place(decoder):
    with torch.no_grad():
        decoder.layers[0].self_attn.k_proj.weight.add_(1.0)


def edit_through_data(decoder):
    decoder.layers[0].self_attn.k_proj.weight.data.add_(1.0)


def replace_a_layer(decoder):
    decoder.layers[0].self_attn.k_proj = nn.Linear(*decoder.layers[0].self_attn.k_proj.weight.shape)


@pytest.mark.parametrize("edit", [edit_in_place, edit_through_data, replace_a_layer])
def test_an_edit_by_hand_is_unseen_until_it_is_told(edit):
    """The documented exception: whoever edits weights by hand says so."""
    model = small_model(DICTIONARY, 1).eval()
    native = packed_weights(model.decoder, NATIVE).blocks[0].qkv
    x = torch.ones(1, model.decoder.embed_dim)
    before = native(x)
    edit(model.decoder)
    assert torch.equal(packed_weights(model.decoder, NATIVE).blocks[0].qkv(x), before)
    model.decoder.drop_derived_state()
    assert not torch.equal(packed_weights(model.decoder, NATIVE).blocks[0].qkv(x), before)


def test_generators_of_two_precisions_take_turns():
    decoder = small_model(DICTIONARY, 1).decoder
    float32, int8 = packed_weights(decoder), packed_weights(decoder, LinearFormat("int8"))
    assert packed_weights(decoder) is float32 and packed_weights(decoder, LinearFormat("int8")) is int8


def test_packed_again_when_the_precision_changes():
    model = small_model(DICTIONARY, 1)
    packed_weights(model.decoder)
    model.double()
    assert packed_weights(model.decoder).blocks[0].qkv.weight.dtype == torch.float64


def test_a_generator_follows_its_model_to_another_precision():
    model = make_model(ModelOptions(decoder_normalize_before=True), torch.float32)
    generator = make_generator([model], beam=2, max_len_b=4, exit_policy="full")
    generator.generate([model], make_sample([[5, 2]]))
    kernels = generator.plan.blocks.fast
    model.double()
    [[best, *_]] = generator.generate([model], make_sample([[5, 2]]))
    assert len(best["exits"]) == len(best["tokens"]) and not generator.plan.blocks.fast
    model.float()
    generator.generate([model], make_sample([[5, 2]]))
    assert generator.plan.blocks.fast == kernels


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
def test_copies_of_a_model_pack_their_own(copied):
    encoder = small_model(DICTIONARY, 1).eval().encoder
    packed = packed_weights(encoder, NATIVE, native_blocks=True)
    twin = copied(encoder)
    assert packed_weights(twin, NATIVE, native_blocks=True) is not packed
    assert packed_weights(encoder, NATIVE, native_blocks=True) is packed


def test_nothing_is_kept_of_a_model_that_is_gone():
    gc.collect()  # models of other tests that are gone, too, must not go in between
    model = small_model(DICTIONARY, 1)
    packed_weights(model.decoder), packed_weights(model.encoder)
    decoder, owners = weakref.ref(model.decoder), len(derived_state._OWNERS)
    del model
    gc.collect()
    assert decoder() is None and len(derived_state._OWNERS) == owners - 2


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_weights_that_are_moved_in_place_to_shared_memory(kernels):
    """What is packed points to nothing that has been freed."""
    model = make_model(ModelOptions(seed=3, decoder_normalize_before=True, halting="geometric"), torch.float32)
    generator = make_generator([model], beam=2, max_len_b=6, exit_policy="geometric", decoding_kernels=kernels)
    sample = make_sample([[5, 6, 7, 2], [8, 9, 2]])
    before = [[each["positional_scores"] for each in sentence] for sentence in generator.generate([model], sample)]
    for parameter in [*model.parameters(), *model.buffers()]:
        parameter.untyped_storage().share_memory_()  # not through the model, as pickling to another process does
    after = [[each["positional_scores"] for each in sentence] for sentence in generator.generate([model], sample)]
    torch.testing.assert_close(after, before, rtol=0, atol=0)

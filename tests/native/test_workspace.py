"""The kernels' memory has an owner: it is used again, given back, and not shared between threads."""

import gc
import threading

import pytest
import torch

from depth_adaptive_fairseq.native import kernels
from tests.models_for_tests import make_generator, make_model, make_sample, random_sources
from tests.native.test_native_decoder import MODELS


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def apply(library, workspace, layer, x):
    y = torch.empty(len(x), layer.outputs)
    library.linear_apply(workspace.handle, layer.handle, x.data_ptr(), len(x), y.data_ptr())
    return y


def test_room_is_for_the_largest_call_and_no_more(library):
    layer, space = kernels.Linear(torch.ones(8, 64), None, True, library), kernels.Workspace(library)
    assert space.bytes == 0
    apply(library, space, layer, torch.ones(32, 64))
    room = space.bytes
    assert room == 32 * (64 + 4)  # bytes of inputs, and a scale for each row
    for rows in (7, 32, 1):
        apply(library, space, layer, torch.ones(rows, 64))
        assert space.bytes == room
    apply(library, space, layer, torch.ones(48, 64))
    assert space.bytes == 48 * (64 + 4)


def test_memory_is_given_back(library):
    layer, space = kernels.Linear(torch.ones(1, 64), None, True, library), kernels.Workspace(library)
    x, y = torch.ones(10**6, 64), torch.empty(10**6)
    library.linear_apply(space.handle, layer.handle, x.data_ptr(), len(x), y.data_ptr())
    held, before = space.bytes, resident_bytes()
    assert held > 60e6
    del space
    assert before - resident_bytes() > 0.8 * held


def test_each_thread_has_its_own_for_as_long_as_it_lives(library):
    found = {}

    def look(name):
        kernels.Linear(torch.ones(1, 64), None, True, library)(torch.ones(10**6, 64))
        found[name] = kernels.workspace(library).handle
        assert kernels.workspace(library).handle == found[name]

    look("here")
    gc.collect()
    before = resident_bytes()
    thread = threading.Thread(target=look, args=["there"])
    thread.start()
    thread.join()
    assert found["here"] != found["there"]
    gc.collect()
    assert resident_bytes() - before < 40e6  # of 64e6


def test_whatever_the_number_of_threads(library):
    torch.manual_seed(1)
    layer, x, space = kernels.Linear(torch.randn(300, 200), None, True, library), torch.randn(40, 200), kernels.Workspace(library)
    expected = apply(library, space, layer, x)
    for threads in (3, 1, 2, 4):
        library.set_threads(threads)
        assert apply(library, space, layer, x).equal(expected)


@pytest.mark.parametrize("policy", [dict(exit_policy="confidence", exit_thresholds="0.4,0.35,0.3"), dict(exit_policy="uniform")])
def test_two_python_threads_decode_at_once(library, policy):
    options = dict(beam=3, max_len_b=12, decoding_kernels="native", **policy)
    model = make_model(MODELS["pre-norm"], torch.float32)
    samples = [make_sample(random_sources(seed, [5, 9, 3] * 4)) for seed in (1, 2)]
    generators = [make_generator([model], **options) for _ in samples]
    expected = [generator.generate([model], sample) for generator, sample in zip(generators, samples)]
    found = [[], []]

    def decode(number):
        for _ in range(3):
            with torch.no_grad():
                found[number].append(generators[number].generate([model], samples[number]))

    threads = [threading.Thread(target=decode, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for all_times, once in zip(found, expected):
        assert len(all_times) == 3
        for sentences in all_times:
            for ours, theirs in zip(sentences, once):
                assert ours[0]["tokens"].equal(theirs[0]["tokens"]) and ours[0]["exits"].equal(theirs[0]["exits"])
                assert ours[0]["positional_scores"].equal(theirs[0]["positional_scores"])

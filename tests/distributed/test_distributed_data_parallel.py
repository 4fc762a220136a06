"""torch's DistributedDataParallel around the model: no parameter may be left without a gradient in any regime."""

from dataclasses import dataclass, field

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from fairseq.distributed import ModuleProxyWrapper
from torch.nn.parallel import DistributedDataParallel

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.small_models import random_sample, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary(8)
PROCESSES = 2
STEPS = 3  # DistributedDataParallel notices in the second that a parameter got no gradient in the first


@dataclass(frozen=True)
class Regime:
    """Options of a criterion and of a model, and the target lengths of each process' two sentences."""

    criterion: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    lengths: tuple = ((3, 5), (2, 1))


REGIMES = {
    "aligned": Regime(),
    "one exit, halting": Regime({"exit_loss_weight": 0.5}, {"decoder_layers": 1, "halting": "geometric"}),
    "tied, gradient scaling": Regime(model={"share_exit_classifiers": True, "gradient_scaling": 0.3}),
    "untrained sequence": Regime(model={"halting": "sequence"}),
    "untrained geometric": Regime(model={"halting": "geometric", "halting_per_block": True}),
    "sequence": Regime({"exit_loss_weight": 0.5}, {"halting": "sequence"}),
    "multinomial": Regime({"exit_loss_weight": 0.5, "oracle": "correctness"}, {"halting": "multinomial"}),
    "geometric": Regime({"exit_loss_weight": 0.5, "oracle_kernel_width": 2.0}, {"halting": "geometric"}),
    "mixed": Regime({"training_mode": "mixed", "exit_paths": 2}),
    # Two tokens for six blocks: most blocks are left unreached, and not the same ones on both processes.
    "mixed, few tokens": Regime({"training_mode": "mixed"}, {"decoder_layers": 6, "halting": "geometric"}, ((2, 0), (1, 0))),
    "mixed, tied": Regime({"training_mode": "mixed"}, {"share_exit_classifiers": True, "halting": "multinomial"}),
}


def sample_of(regime: Regime, rank: int) -> dict:
    sample = random_sample(DICTIONARY, regime.lengths, seed=rank)
    sample["id"] += 10 * rank
    return sample


def build(regime: Regime):
    model = small_model(DICTIONARY, encoder_layers=1, **regime.model).train()
    return model, DepthAdaptiveCrossEntropy(small_task(DICTIONARY), False, **regime.criterion)


def unused_copies(model):
    """The encoder's second copy of its weights for a fast path that training never takes: fairseq's, not ours."""
    return [
        f"encoder.layers.{number}.{name}"
        for number, layer in enumerate(model.encoder.layers)
        for name, _ in layer.named_parameters(recurse=False)
    ]


def train_steps(model, criterion, samples, step_of) -> None:
    """Plain gradient descent: the gradients of the last step stay behind in the parameters."""
    for step in range(STEPS):
        step_of.set_num_updates(step)
        model.zero_grad()
        for sample in samples:
            criterion(model, sample)[0].backward()
        if step < STEPS - 1:
            with torch.no_grad():
                for parameter in step_of.parameters():
                    if parameter.grad is not None:
                        # DistributedDataParallel averages what one process would add up.
                        parameter -= 0.01 * len(samples) ** -1 * parameter.grad


def worker(rank: int, folder: str) -> None:
    """Train in every regime; leaves a file for each: the gradients, or the error."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    for number, (name, regime) in enumerate({**REGIMES, "an unused parameter": Regime()}.items()):
        model, criterion = build(regime)
        if name == "an unused parameter":
            model.decoder.register_parameter("unused", torch.nn.Parameter(torch.zeros(3)))
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, unused_copies(model))
        # The outer wrapper, which fairseq puts around this one too, lets a criterion ask the model for targets.
        wrapped = ModuleProxyWrapper(DistributedDataParallel(model))
        try:
            train_steps(wrapped, criterion, [sample_of(regime, rank)], model)
            outcome = {name: parameter.grad for name, parameter in model.named_parameters()}
        except RuntimeError as error:
            outcome = str(error)
        torch.save(outcome, f"{folder}/{number}.{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What each process found in each regime: two processes run them all, for starting them takes longest."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(worker, (str(folder),), nprocs=PROCESSES)
    names = [*REGIMES, "an unused parameter"]
    return {
        name: [torch.load(folder / f"{number}.{rank}") for rank in range(PROCESSES)] for number, name in enumerate(names)
    }


@pytest.mark.parametrize("name", REGIMES)
def test_gradients_are_those_of_one_process(name, outcomes):
    regime = REGIMES[name]
    model, criterion = build(regime)
    train_steps(model, criterion, [sample_of(regime, rank) for rank in range(PROCESSES)], model)
    for outcome in outcomes[name]:
        assert not isinstance(outcome, str), outcome
        for parameter_name, parameter in model.named_parameters():
            if parameter_name in unused_copies(model):
                assert outcome[parameter_name] is None
                continue
            # DistributedDataParallel takes the mean over processes, a single one the sum.
            torch.testing.assert_close(
                outcome[parameter_name],
                parameter.grad / PROCESSES,
                rtol=1e-4,
                atol=1e-6,
                msg=lambda text, name=parameter_name: f"{name}: {text}",
            )


def test_an_unused_parameter_would_be_noticed(outcomes):
    for outcome in outcomes["an unused parameter"]:
        assert isinstance(outcome, str) and "find_unused_parameters" in outcome

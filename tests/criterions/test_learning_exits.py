"""Training with the exit loss finds the right exits of a language in which they are known by construction.

Block 1 is made blind to the source: the values of its cross-attention are frozen at zero. What follows from the prefix can
be predicted behind it; what only the source tells cannot before block 2, whatever is learnt. Half of the sentences
walk along a ring of words, each following from the one before. In the others a marker announces the source's word
of one kind, a second marker that of another.
"""

import random

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.data.data_utils import collate_tokens

from depth_adaptive_fairseq.criterions.depth_adaptive import DepthAdaptiveCrossEntropy
from tests.small_models import small_model, small_task

RING = [f"ring{number}" for number in range(5)]
FIRST, SECOND, PLAIN = ([f"{kind}{number}" for number in range(12)] for kind in ("first", "second", "plain"))
START, MARKERS = "start", ("marker1", "marker2")


def build_dictionary() -> Dictionary:
    dictionary = Dictionary()
    for word in (*RING, *FIRST, *SECOND, *PLAIN, START, *MARKERS):
        dictionary.add_symbol(word)
    return dictionary


DICTIONARY = build_dictionary()
TASK = small_task(DICTIONARY)


def sentence(draw: random.Random):
    """A source, its target, and the exit that each target word takes (0: the first, which the loss leaves out)."""
    if draw.random() < 0.5:
        place = draw.randrange(len(RING))
        return [draw.choice(PLAIN)], [RING[(place + step) % len(RING)] for step in range(5)], [0, 1, 1, 1, 1, 1]
    told = [draw.choice(FIRST), draw.choice(SECOND)]
    target = [START, MARKERS[0], told[0], MARKERS[1], told[1]]
    return draw.sample(told, 2), target, [0, 1, 2, 1, 2, 1]


def make_batch(draw: random.Random, sentences: int = 48):
    """A batch in fairseq's form, and the right exits, ``(batch, 6)``."""
    drawn = [sentence(draw) for _ in range(sentences)]
    pad, eos = DICTIONARY.pad(), DICTIONARY.eos()
    source, target = (
        [torch.tensor([DICTIONARY.index(word) for word in each[side]] + [eos]) for each in drawn] for side in (0, 1)
    )
    sample = {
        "id": torch.arange(sentences),
        "ntokens": sum(map(len, target)),
        "net_input": {
            "src_tokens": collate_tokens(source, pad, left_pad=True),
            "src_lengths": torch.tensor([len(each) for each in source]),
            "prev_output_tokens": collate_tokens(target, pad, eos, move_eos_to_beginning=True),
        },
        "target": collate_tokens(target, pad),
    }
    return sample, torch.tensor([each[2] for each in drawn])


def build_blind_model(**options):
    """A model of three exits whose first block sees nothing of the source."""
    model = small_model(DICTIONARY, 2, encoder_layers=1, decoder_embed_dim=32, encoder_embed_dim=32, **options)
    for parameter in model.decoder.layers[0].encoder_attn.v_proj.parameters():
        torch.nn.init.zeros_(parameter)
        parameter.requires_grad_(False)
    return model


def train(model, updates, **options):
    """Train *model* with the criterion's *options*."""
    criterion = DepthAdaptiveCrossEntropy(TASK, False, ignore_prefix_size=1, **options)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    draw = random.Random(1)
    model.train()
    for _ in range(updates):
        loss, sample_size, _ = criterion(model, make_batch(draw)[0])
        optimizer.zero_grad()
        (loss / sample_size).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def first_phase():
    """What aligned training alone has learnt."""
    return train(build_blind_model(), 120).state_dict()


class Learnt:
    """A model after its second phase, on sentences that it has not been trained on."""

    def __init__(self, first_phase, halting, per_block=False, **options):
        self.model = build_blind_model(halting=halting, halting_per_block=per_block)
        self.model.load_state_dict(dict(first_phase))  # which it adds its halting classifier to
        options = {"exit_loss_weight": 1.0, **options}
        train(self.model, 60, **options)
        self.sample, self.right = make_batch(random.Random(2), 200)
        criterion = DepthAdaptiveCrossEntropy(TASK, False, ignore_prefix_size=1, **options)
        with torch.no_grad():
            log = criterion(self.model, self.sample)[2]
            _, extra = self.model(**self.sample["net_input"])
        self.terms = int(log["exit_terms"])
        self.agreement = int(log["exit_agreement"]) / self.terms
        self.average_exit = int(log["predicted_exit"]) / self.terms
        self.average_oracle = int(log["oracle_exit"]) / self.terms
        self.predicted = self.model.decoder.halting.predict(extra["halting_logits"])  # (batch, 6 or 1)

    def recall(self, exit_index):
        """How many of the tokens (or sentences) whose right exit is this one are sent there."""
        right = self.right if self.predicted.size(1) > 1 else self.right.amax(dim=1, keepdim=True)
        return self.predicted[right == exit_index].eq(exit_index).double().mean().item()


def test_the_language_is_what_it_is_said_to_be(first_phase):
    """Block 2 has learnt what block 1 cannot know; else the other tests would show nothing."""
    model = build_blind_model()
    model.load_state_dict(dict(first_phase))
    sample, right = make_batch(random.Random(2), 200)
    with torch.no_grad():
        _, extra = model(**sample["net_input"])
        for n, words_right in ((1, 1), (2, 1), (2, 2), (3, 2)):
            logits = model.decoder.exit_classifier(n)(extra["inner_states"][n].transpose(0, 1))
            assert logits.argmax(-1)[right == words_right].eq(sample["target"][right == words_right]).double().mean() > 0.95
        logits = model.decoder.exit_classifier(1)(extra["inner_states"][1].transpose(0, 1))
        assert logits.argmax(-1)[right == 2].eq(sample["target"][right == 2]).double().mean() < 0.2


@pytest.mark.parametrize("oracle", ["likelihood", "correctness"])
@pytest.mark.parametrize("halting, per_block", [("geometric", False), ("geometric", True), ("multinomial", False)])
def test_tokens_learn_their_exits(first_phase, halting, per_block, oracle):
    learnt = Learnt(first_phase, halting, per_block, oracle=oracle, oracle_penalty=0.3)
    assert learnt.agreement > 0.9  # a third by chance, 80% by always taking exit 1
    assert learnt.recall(1) > 0.95
    assert learnt.recall(2) > 0.9


@pytest.mark.parametrize("oracle", ["likelihood", "correctness"])
def test_sentences_learn_their_exits(first_phase, oracle):
    learnt = Learnt(first_phase, "sequence", oracle=oracle, oracle_penalty=0.7)
    assert learnt.terms == 200
    assert learnt.agreement > 0.9  # a third by chance, half by always taking one exit
    assert learnt.recall(1) > 0.9 and learnt.recall(2) > 0.9


def test_a_larger_penalty_gives_lower_exits(first_phase):
    cheap, dear = (Learnt(first_phase, "geometric", oracle_penalty=penalty) for penalty in (0.3, 6.0))
    assert dear.average_exit < cheap.average_exit - 0.1
    assert dear.recall(2) < 0.1  # not even what block 2 knows is worth that much


def test_a_wider_kernel_gives_higher_exits(first_phase):
    narrow, wide = (
        Learnt(first_phase, "geometric", oracle="correctness", oracle_penalty=0.3, oracle_kernel_width=width)
        for width in (0.0, 4.0)
    )
    assert wide.average_oracle > narrow.average_oracle + 0.1
    assert wide.average_exit > narrow.average_exit + 0.1

"""The task: from options to a generator, its refusals, and what a decoding run reports."""

import json
from argparse import Namespace

import pytest
import torch
from fairseq.models.transformer import TransformerModelBase
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from fairseq.sequence_scorer import SequenceScorer
from omegaconf import OmegaConf

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from depth_adaptive_fairseq.inference.generator import DepthAdaptiveGenerator
from depth_adaptive_fairseq.models.configuration import to_transformer_config
from depth_adaptive_fairseq.tasks.depth_adaptive_translation import (
    DepthAdaptiveTranslationConfig,
    DepthAdaptiveTranslationTask,
    common_depth,
)
from tests.small_models import random_sample, small_config, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary()
MODEL = small_model(DICTIONARY).eval()
SHALLOW = small_model(DICTIONARY, decoder_layers=2).eval()
MODEL_OPTIONS = OmegaConf.create(  # as a task is given them
    {
        "_name": "depth_adaptive_transformer_tiny",
        "encoder_layers": 1,
        "decoder_layers": 3,
        "encoder_embed_dim": 16,
        "decoder_embed_dim": 16,
    }
)
SAMPLE = random_sample(DICTIONARY, [(3, 4), (5, 2), (1, 6)])


def task(**options) -> DepthAdaptiveTranslationTask:
    return DepthAdaptiveTranslationTask(DepthAdaptiveTranslationConfig(**options), DICTIONARY, DICTIONARY)


def generator(task, models=(MODEL,), **arguments):
    return task.build_generator(list(models), Namespace(**{"beam": 2, "max_len_b": 6, **arguments}))


def policy(task, **arguments):
    """The policy's name and the value of its option."""
    rule = generator(task, **arguments).model.rule
    return rule.policy.name, rule.value


class TestWhichPolicy:
    def test_auto_is_full_depth_without_a_halting_classifier(self):
        assert policy(task()) == ("full", None)

    def test_the_tasks_options_choose_it(self):
        assert policy(task(exit_policy="fixed", exit_at=2)) == ("fixed", 2)

    def test_arguments_come_before_the_tasks_options(self):
        """The hub interface's keywords are such arguments."""
        chosen = policy(task(exit_policy="fixed", exit_at=2, exit_seed=3), exit_policy="uniform", exit_seed=4)
        assert chosen == ("uniform", 4)

    def test_each_option_is_taken_from_the_arguments_or_else_the_task(self):
        assert policy(task(exit_policy="fixed", exit_at=2), exit_at=1) == ("fixed", 1)
        assert policy(task(exit_at=2), exit_policy="fixed") == ("fixed", 2)

    def test_an_argument_that_is_none_says_nothing(self):
        assert policy(task(exit_policy="fixed", exit_at=2), exit_policy=None, exit_at=None) == ("fixed", 2)

    @pytest.mark.parametrize("given", ["0.5,0.25", [0.5, 0.25], (0.5, 0.25)])
    def test_thresholds_as_text_or_as_numbers(self, given):
        assert policy(task(), exit_policy="confidence", exit_thresholds=given) == ("confidence", [0.5, 0.25])

    @pytest.mark.parametrize("given", ["0.5", 0.5])
    def test_one_threshold_is_for_all_exits(self, given):
        assert policy(task(), exit_policy="confidence", exit_thresholds=given) == ("confidence", [0.5, 0.5])

    @pytest.mark.parametrize("edge", ["0", "1", "0.0,1.0"])
    def test_the_ends_of_the_range_are_allowed(self, edge):
        assert set(policy(task(), exit_policy="confidence", exit_thresholds=edge)[1]) <= {0.0, 1.0}


@pytest.mark.parametrize(
    "options, parts",
    [
        (dict(exit_policy="clairvoyant"), ["--exit-policy clairvoyant", "auto, full, fixed, uniform, confidence"]),
        (dict(exit_policy="fixed"), ["without --exit-at", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at=0), ["--exit-at 0", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at=4), ["--exit-at 4", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at=-1), ["--exit-at -1", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at="last"), ["--exit-at last", "1 to 3"]),
        (dict(exit_policy="fixed", exit_at=1.5), ["--exit-at 1.5", "1 to 3"]),
        (dict(exit_policy="confidence", exit_thresholds="0.5,0.6,0.7"), ["0.5,0.6,0.7", "3 numbers", "or 2 of them"]),
        (dict(exit_policy="confidence", exit_thresholds=[]), ["0 numbers", "or 2 of them"]),
        (dict(exit_policy="confidence", exit_thresholds="0.5,1.01"), ["1.01 is outside 0 to 1"]),
        (dict(exit_policy="confidence", exit_thresholds=-0.1), ["-0.1 is outside 0 to 1"]),
        (dict(exit_policy="confidence", exit_thresholds="nan"), ["outside 0 to 1"]),
        (dict(exit_policy="confidence", exit_thresholds="high"), ["--exit-thresholds high", "not a list of numbers"]),
        (dict(exit_policy="confidence", exit_thresholds="0.5,"), ["not a list of numbers"]),
        (dict(exit_policy="confidence", exit_thresholds=""), ["not a list of numbers"]),
        (dict(exit_policy="uniform", exit_seed="tuesday"), ["--exit-seed tuesday"]),
    ],
    ids=str,
)
def test_wrong_exit_options_say_what_was_given_and_what_is_allowed(options, parts):
    """As arguments, and where the task's options have them."""
    with pytest.raises(DepthAdaptiveError) as raised:
        generator(task(), **options)
    with pytest.raises(DepthAdaptiveError) as from_task:
        generator(task(**options))
    assert str(raised.value) == str(from_task.value)
    for part in parts:
        assert part in str(raised.value)


class TestModels:
    def test_depth(self):
        assert common_depth([MODEL, MODEL]) == 3

    def test_members_of_different_depth_are_refused(self):
        with pytest.raises(DepthAdaptiveError, match="2 and 3 exits.*equally many"):
            generator(task(), models=[MODEL, SHALLOW])

    def test_a_stock_transformer_is_refused(self):
        stock = TransformerModelBase.build_model(to_transformer_config(small_config()), small_task(DICTIONARY))
        with pytest.raises(DepthAdaptiveError, match="TransformerModelBase.*--finetune-from-model.*--task translation"):
            generator(task(), models=[stock])

    def test_a_model_without_a_decoder_is_refused(self):
        with pytest.raises(DepthAdaptiveError, match="Linear"):
            generator(task(), models=[torch.nn.Linear(2, 2)])


class TestScoringAndAlignment:
    """fairseq's own generators, which know nothing about exits."""

    @pytest.mark.parametrize(
        "options, kind",
        [
            (dict(score_reference=True), SequenceScorer),
            (dict(print_alignment="hard"), SequenceGeneratorWithAlignment),
            (dict(print_alignment="hard", replace_unk=None), SequenceGeneratorWithAlignment),
            (dict(), DepthAdaptiveGenerator),
        ],
        ids=str,
    )
    def test_at_full_depth_every_hypothesis_tells_its_exits(self, options, kind):
        at_work = task(exit_policy="full")
        built = generator(at_work, **options)
        assert type(built) is kind
        for sentence in at_work.inference_step(built, [MODEL], SAMPLE):
            for hypothesis in sentence:
                assert hypothesis["exits"].tolist() == [3] * len(hypothesis["tokens"])
                assert hypothesis["steps"] == " ".join(["3"] * len(hypothesis["tokens"]))

    @pytest.mark.parametrize(
        "option, value", [("score_reference", True), ("print_alignment", "hard"), ("replace_unk", ""), ("replace_unk", "file")]
    )
    @pytest.mark.parametrize("policy", [dict(exit_policy="uniform"), dict(exit_policy="fixed", exit_at=3)], ids=str)
    def test_with_other_policies_they_are_refused(self, option, value, policy):
        given = f"--{option.replace('_', '-')}.*{policy['exit_policy']}"
        with pytest.raises(DepthAdaptiveError, match=f"{given}.*--exit-policy full"):
            generator(task(**policy), **{option: value})


@pytest.mark.parametrize("option, value", [("iter_decode_max_iter", 3), ("iter_decode_with_beam", 2)])
def test_options_of_iterative_models_are_refused_unless_at_their_defaults(option, value):
    with pytest.raises(DepthAdaptiveError, match=f"--{option.replace('_', '-')}.*leave the option out"):
        generator(task(), **{option: value})
    generator(task(), **{option: {"iter_decode_max_iter": 10, "iter_decode_with_beam": 1}[option]})


@pytest.mark.parametrize("arguments, name", [({}, "of-the-task"), ({"exit_log": "of-the-call"}, "of-the-call")])
def test_the_logs_path_comes_from_the_arguments_or_the_task(tmp_path, monkeypatch, arguments, name):
    monkeypatch.chdir(tmp_path)
    at_work = task(exit_log="of-the-task")
    at_work.inference_step(generator(at_work, **arguments), [MODEL], SAMPLE)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.partial"]


def test_the_generator_of_eval_bleu_opens_no_log(tmp_path):
    at_work = task(exit_log=str(tmp_path / "log"), eval_bleu=True, eval_bleu_args='{"beam": 2}')
    at_work.build_model(MODEL_OPTIONS)
    assert at_work.sequence_generator.beam_size == 2
    assert list(tmp_path.iterdir()) == []


class TestReport:
    def interactive_batches(self, at_work, sentences, batch_size=2):
        """As fairseq-interactive makes them: without the ids of the sentences."""
        lengths = [len(sentence) for sentence in sentences]
        dataset = at_work.build_dataset_for_inference(sentences, lengths)
        batches = at_work.get_batch_iterator(dataset, max_sentences=batch_size).next_epoch_itr(shuffle=False)
        for batch in batches:
            yield {"net_input": {name: batch["net_input"][name] for name in ("src_tokens", "src_lengths")}}

    @pytest.fixture
    def at_work(self, tmp_path):
        """A task whose model came from a checkpoint."""
        at_work = task(exit_policy="uniform", exit_log=str(tmp_path / "log.jsonl"))
        at_work.build_model(MODEL_OPTIONS, from_checkpoint=True)
        return at_work

    def test_sentences_are_numbered_through_all_buffers(self, at_work, tmp_path, caplog):
        words = torch.arange(DICTIONARY.nspecial, len(DICTIONARY))
        end = torch.tensor([DICTIONARY.eos()])
        buffers = [[torch.cat([words[:length], end]) for length in lengths] for lengths in ([7, 2, 5], [1], [4, 9, 3])]
        built = generator(at_work)
        caplog.set_level("INFO")
        for sentences in buffers:
            for sample in self.interactive_batches(at_work, sentences):
                at_work.inference_step(built, [MODEL], sample)
        records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert sorted(record["id"] for record in records) == list(range(7))
        assert [record["id"] for record in records][3] == 3, "one buffer after the other"
        summaries = [message for message in caplog.messages if "exit policy" in message]
        assert [message.split(" | ")[0] for message in summaries] == [f"sentence {record['id']}" for record in records]

    def test_the_end_of_the_batches_completes_the_log_and_sums_up(self, at_work, tmp_path, caplog):
        dataset = at_work.build_dataset_for_inference([torch.tensor([5, 6, 2]), torch.tensor([7, 2])], [3, 2])
        batches = at_work.get_batch_iterator(dataset, max_sentences=1)
        built = generator(at_work)
        caplog.set_level("INFO")
        epoch = batches.next_epoch_itr(shuffle=False)
        assert len(epoch) == 2
        for sample in epoch:
            at_work.inference_step(built, [MODEL], sample)
            assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl.partial"]
            assert not [message for message in caplog.messages if "exit policy" in message]
        assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
        assert len([message for message in caplog.messages if "exit policy uniform" in message]) == 1

    def test_training_batches_are_fairseqs_own(self):
        """What fairseq-train asks of its iterator must be there, and nothing is to be reported."""
        training = task()
        training.build_model(MODEL_OPTIONS)
        dataset = training.build_dataset_for_inference([torch.tensor([5, 2])], [2])
        batches = training.get_batch_iterator(dataset, max_sentences=1)
        assert type(batches).__module__.startswith("fairseq.")

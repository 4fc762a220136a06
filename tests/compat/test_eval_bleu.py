"""BLEU while training: of all translations, empty ones included; its options are checked before anything is trained."""

from types import SimpleNamespace

import pytest
import sacrebleu
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary
from fairseq.logging import metrics
from fairseq.tasks.translation import TranslationConfig, TranslationTask

REFERENCES = ["the cat sits on the mat .", "the dog sleeps .", "a man buys three old books .", "nobody ."]
TRANSLATIONS = ["", "", "a man buys three books .", "nobody at all ."]


class NoLoss(FairseqCriterion):
    @staticmethod
    def reduce_metrics(logging_outputs):
        pass


def log_of(translations, references):
    """What a validation step of fairseq's puts into its logging output."""
    bleu = sacrebleu.corpus_bleu(translations, [references])
    log = {"_bleu_sys_len": bleu.sys_len, "_bleu_ref_len": bleu.ref_len, "ntokens": 1, "nsentences": 1}
    for order in range(4):
        log[f"_bleu_counts_{order}"], log[f"_bleu_totals_{order}"] = bleu.counts[order], bleu.totals[order]
    return log


def task(**options):
    return TranslationTask(TranslationConfig(eval_bleu=True, **options), Dictionary(), Dictionary())


def logged(*batches):
    with metrics.aggregate(new_root=True) as found:
        for batch in batches:
            task().reduce_metrics([batch], NoLoss(None))
    return found.get_smoothed_values()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_batch_of_empty_translations_counts(order):
    batches = [log_of(TRANSLATIONS[first : first + 2], REFERENCES[first : first + 2]) for first in (0, 2)]
    expected = sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES]).score
    assert expected > 0
    assert logged(*(batches[i] for i in order))["bleu"] == pytest.approx(expected, abs=0.006)


def test_nothing_but_empty_translations_is_a_bleu_of_0():
    assert logged(log_of(["", ""], REFERENCES[:2]))["bleu"] == 0


def test_training_steps_log_no_bleu():
    assert "bleu" not in logged({"ntokens": 1, "nsentences": 1})


@pytest.mark.parametrize(
    "options, part",
    [
        (dict(eval_bleu_args="beam=4"), "JSON object"),
        (dict(eval_bleu_args="[4]"), "JSON object"),
        (dict(eval_bleu_args='{"beem": 4}'), "did you mean beam"),
        (dict(eval_bleu_args='{"nbest": 4}'), "does nothing"),
        (dict(eval_bleu_detok_args="x"), "--eval-bleu-detok-args x"),
    ],
    ids=str,
)
def test_wrong_arguments(options, part):
    with pytest.raises(ValueError, match=part) as raised:
        task(**options).build_model(SimpleNamespace())
    assert raised.value.is_user_error

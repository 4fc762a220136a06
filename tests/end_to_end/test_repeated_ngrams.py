"""``--no-repeat-ngram-size`` through every command that searches: no bigram occurs twice in what it says."""

import re

import pytest

from depth_adaptive_fairseq.models.depth_adaptive_transformer import DepthAdaptiveTransformerModel

LONG = dict(beam=3, min_len=15)  # longer than the model would say, so that it repeats itself
ONCE = dict(no_repeat_ngram_size=2)


def repeating(sentences):
    """How many of the *sentences* hold a bigram twice."""
    bigrams = [list(zip(words, words[1:])) for words in map(str.split, sentences)]
    assert min(map(len, bigrams)) > 10
    return sum(len(set(each)) < len(each) for each in bigrams)


def of_generation(**options):
    return {f"generation__{name}": value for name, value in options.items()}


@pytest.mark.parametrize(
    "entries", [{}, dict(task__exit_policy="confidence"), dict(task__exit_policy="fixed", task__exit_at=1)], ids=str
)
def test_generate(decode, trained, entries):
    def said(**options):
        found = decode(trained.checkpoint, **entries, **of_generation(nbest=3, **LONG, **options))
        return [hypothesis for hypotheses in found.hypotheses().values() for hypothesis in hypotheses]

    assert repeating(said()) > 20
    assert repeating(said(**ONCE)) == 0


def test_fairseqs_own_task(decode_stock, trained):
    found = decode_stock(trained.checkpoint, **of_generation(nbest=3, **LONG, **ONCE)).hypotheses()
    assert len(found) == 16
    assert repeating([hypothesis for hypotheses in found.values() for hypothesis in hypotheses]) == 0


def test_interactive(converse, trained):
    lines = ["der Mann kauft heute drei alte Stühle .", "die Frau sieht rote Äpfel .", "ein Koch"]
    found = converse(trained.checkpoint, lines, **of_generation(**LONG, **ONCE)).hypotheses()
    assert len(found) == len(lines)
    assert repeating([hypotheses[0] for hypotheses in found.values()]) == 0


def test_hub(trained, data):
    hub = DepthAdaptiveTransformerModel.from_pretrained(
        str(trained.folder), checkpoint_file="checkpoint_last.pt", data_name_or_path=str(data)
    )
    lines = (data.parent / "raw" / "test.de").read_text(encoding="utf-8").split("\n")[:5]
    assert repeating(hub.translate(lines, **LONG)) > 0
    assert repeating(hub.translate(lines, **LONG, **ONCE)) == 0


def test_bleu_while_training(train_briefly):
    def said(options):
        arguments = f'{{"beam": 2, "min_len": 15{options}}}'
        bleu = dict(task__eval_bleu=True, task__eval_tokenized_bleu=True, task__eval_bleu_print_samples=True)
        done = train_briefly(**bleu, task__eval_bleu_args=arguments)
        return re.findall(r"example hypothesis: (.*)", done.output)

    assert repeating(said("")) > 0
    assert repeating(said(', "no_repeat_ngram_size": 2')) == 0

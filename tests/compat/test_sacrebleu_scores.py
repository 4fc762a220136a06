"""The scores of fairseq-score and of fairseq's scorers, against sacreBLEU used directly."""

import io
import sys

import pytest
import sacrebleu
from fairseq.data import Dictionary
from fairseq.scoring import build_scorer
from fairseq.scoring.bleu import BleuConfig, SacrebleuConfig, SacrebleuScorer, Scorer
from fairseq.scoring.chrf import ChrFScorer, ChrFScorerConfig
from fairseq_cli import score

REFERENCES = ["The cat sits on the mat.", "A man, who is old, buys books.", "Nobody sleeps.", "Three\u2028small houses."]
TRANSLATIONS = ["The cat sat on the mat.", "a man who is old buys old books.", "", "Three small\u0085houses."]


@pytest.fixture
def scored(tmp_path, monkeypatch, capsys):
    """``scored(translations, references, *options)``: what fairseq-score prints, without its options."""

    def scored(translations, references, *options, system=None):
        for name, lines in (("sys", translations), ("ref", references)):
            (tmp_path / name).write_bytes("".join(f"{line}\n" for line in lines).encode())
        command = ["fairseq-score", "--sys", system or tmp_path / "sys", "--ref", tmp_path / "ref", *options]
        monkeypatch.setattr(sys, "argv", [str(each) for each in command])
        score.cli_main()
        return capsys.readouterr().out.splitlines()[1:]

    return scored


@pytest.mark.parametrize("ignore_case", [False, True])
def test_sacrebleu(scored, ignore_case):
    (line,) = scored(TRANSLATIONS, REFERENCES, "--sacrebleu", *["--ignore-case"] * ignore_case)
    assert line == sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES], lowercase=ignore_case).format()


def test_sacrebleu_of_what_is_typed(scored, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(TRANSLATIONS).encode())))
    (line,) = scored([], REFERENCES, "--sacrebleu", system="-")
    assert line == sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES]).format()


def test_sentence_bleu(scored):
    """Precisions of orders 2 to 4 have one match added to one count."""
    lines = scored(["a b c d", "a x"], ["a b c d", "a b"], "--sentence-bleu")
    assert lines[0].startswith("0 BLEU4 = 100.00, 100.0/100.0/100.0/100.0 ")
    assert lines[1].startswith("1 BLEU4 = 70.71, 50.0/50.0/100.0/100.0 ")  # (1/2 * 1/2) ** (1/4)
    assert len(lines) == 2


def test_tokenised_bleu(scored):
    tokenised = ["the cat sat on the mat today", "a man who is old buys old books", "nobody sleeps at all"]
    references = ["the cat sits on the mat today", "a man who is old buys books", "nobody sleeps at all"]
    (line,) = scored(tokenised, references)
    expected = sacrebleu.corpus_bleu(tokenised, [references], tokenize="none", smooth_method="none")
    assert float(line.partition(" = ")[2].partition(",")[0]) == pytest.approx(expected.score, abs=0.006)


def test_empty_files(scored):
    assert scored([], []) == ["BLEU4 = 0.00, 0.0/0.0/0.0/0.0 (BP=0.000, ratio=inf, syslen=0, reflen=0)"]


@pytest.mark.parametrize("options", [(), ("--sacrebleu",), ("--sentence-bleu",)])
def test_unequal_files(scored, options):
    with pytest.raises(ValueError, match="has 3 lines and .* has 4") as raised:
        scored(TRANSLATIONS[:3], REFERENCES, *options)
    assert raised.value.is_user_error


@pytest.mark.parametrize(
    "options, part",
    [(("--order", "5"), "--order 5"), (("--sacrebleu", "--order", "3"), "--order 3"), (("--sacrebleu", "--sentence-bleu"), "choose one")],
)
def test_options_that_mean_nothing(scored, options, part):
    with pytest.raises(ValueError, match=part):
        scored(TRANSLATIONS, REFERENCES, *options)


def test_files_that_cannot_be_read(scored, tmp_path):
    with pytest.raises(OSError, match="cannot read") as raised:
        scored([], [], system=tmp_path / "nowhere")
    assert raised.value.is_user_error
    (tmp_path / "latin1").write_bytes(b"a\n\xe4\n")
    with pytest.raises(ValueError, match="line 2 of .*latin1 is not UTF-8"):
        scored([], [], system=tmp_path / "latin1")


def add(scorer):
    for reference, translation in zip(REFERENCES, TRANSLATIONS):
        scorer.add_string(reference, translation)
    return scorer


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "none", "char"])
def test_scorer_of_sacrebleu(tokenizer):
    scorer = add(SacrebleuScorer(SacrebleuConfig(sacrebleu_tokenizer=tokenizer)))
    expected = sacrebleu.corpus_bleu(TRANSLATIONS, [REFERENCES], tokenize=tokenizer)
    assert scorer.score() == pytest.approx(expected.score)
    assert scorer.result_string() == expected.format()


def test_scorer_of_chrf():
    scorer = add(ChrFScorer(ChrFScorerConfig()))
    expected = sacrebleu.corpus_chrf(TRANSLATIONS, [REFERENCES])
    assert scorer.score() == expected.score
    assert scorer.result_string() == expected.format()


def test_translations_without_any_word():
    scorer = Scorer(BleuConfig(pad=1, eos=2, unk=3))
    assert scorer.score() == 0
    assert "0.00" in scorer.result_string()


@pytest.mark.parametrize("name, part", [("nonsense", "not known"), ("bert_score", "bert"), ("wer", "editdistance")])
def test_scorers_that_cannot_be_had(name, part):
    package = {"wer": "editdistance"}.get(name, name)
    try:
        __import__(package)
    except ImportError:
        with pytest.raises((OSError, ValueError), match=part) as raised:
            build_scorer(name, Dictionary())
        assert raised.value.is_user_error

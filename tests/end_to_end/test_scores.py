"""The score that fairseq-generate prints, against sacreBLEU used on what it prints."""

import sacrebleu


def score_of(done):
    return done.stdout.splitlines()[-1].partition("beam=3: ")[2]


def sides(done):
    translations, references = done.lines("D"), done.lines("T")
    return [translations[i][0].partition("\t")[2] for i in sorted(references)], [[references[i][0] for i in sorted(references)]]


def test_sacrebleu(decode, trained):
    """The old option does what the new one does; sacreBLEU's tokeniser is applied once to each side."""
    done = decode(trained.checkpoint, generation__sacrebleu=True)
    translations, references = sides(done)
    assert score_of(done) == sacrebleu.corpus_bleu(translations, references).format()
    assert sacrebleu.corpus_bleu(translations, references).score > 0
    assert "BLEU4 = " in score_of(decode(trained.checkpoint))

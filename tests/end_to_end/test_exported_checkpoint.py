"""Models of one depth that ``depth-adaptive export`` writes: in fairseq's own commands, in training, in CTranslate2."""

import math

import pytest

from tests.compat.processes import run as run_command
from tests.end_to_end.commands import assert_ok
from tests.end_to_end.training import ADAPTIVE, AS_IT_IS, OPTIMIZATION, SIZES, train

PRE_NORM = ("--encoder-normalize-before", "--decoder-normalize-before")


@pytest.fixture(scope="module")
def tied(server, build_once, data):
    """A pre-norm model with one matrix for its classifiers and all embeddings."""
    shared = ("--share-all-embeddings", "--share-exit-classifiers")
    return train(server, build_once, "tied", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 50, *PRE_NORM, *shared)


@pytest.fixture
def export(tmp_path):
    """``export(checkpoint, n)``: the file that the command writes."""

    def export(checkpoint, exit_at):
        out = tmp_path / f"exit{exit_at}.pt"
        done = run_command("depth-adaptive", "export", checkpoint, "--exit-at", exit_at, "--out", out)
        assert done.returncode == 0, done.stderr
        assert [file.name for file in tmp_path.iterdir()] == [out.name]
        return out

    return export


def assert_same(done, expected):
    """The same hypotheses, with the same scores up to what is printed of them."""
    assert done.hypotheses() == expected.hypotheses() and done.hypotheses()
    for i, scores in expected.scores().items():
        assert done.scores()[i] == pytest.approx(scores, abs=2e-4)


@pytest.mark.parametrize("model, exit_at", [("trained", 1), ("tied", 2), ("trained", 3)])
def test_stock_fairseq_generate_translates_as_the_fixed_exit(request, run, data, decode, export, model, exit_at):
    """By the real command, which has not been told of the plugin."""
    checkpoint = request.getfixturevalue(model).checkpoint
    expected = decode(checkpoint, task__exit_policy="fixed", task__exit_at=exit_at, generation__nbest=3)
    exported = export(checkpoint, exit_at)
    done = run("fairseq-generate", data, "--path", exported, "--beam", 3, "--nbest", 3, "--num-workers", 0)
    assert_same(assert_ok(done), expected)
    assert done.stdout.splitlines()[-1] == expected.stdout.splitlines()[-1]  # BLEU


def test_training_goes_on_from_it(train_briefly, export, trained):
    """As from any stock checkpoint: here the last exit's classifier starts all of them."""
    done = train_briefly(checkpoint__finetune_from_model=str(export(trained.checkpoint, 3)), **AS_IT_IS)
    expected = trained.log.json_logs("valid")[-1]
    assert float(done.json_logs("valid")[0]["valid_nll_3"]) == pytest.approx(float(expected["valid_nll_3"]), abs=2e-3)


@pytest.mark.parametrize("model, exit_at", [("trained", 1), ("tied", 2)])
def test_ctranslate2_converts_it_and_agrees(request, data, decode_stock, export, tmp_path, model, exit_at):
    """Beam 5. Its scores are natural logarithms, normalised by the length like fairseq's.

    Minimal lengths are left out: CTranslate2 forbids the end of the sentence before the softmax, fairseq behind it.
    """
    ctranslate2 = pytest.importorskip("ctranslate2")
    exported = export(request.getfixturevalue(model).checkpoint, exit_at)
    converter = ctranslate2.converters.FairseqConverter(str(exported), str(data), source_lang="de", target_lang="en")
    converter.convert(str(tmp_path / "converted"))
    translator = ctranslate2.Translator(str(tmp_path / "converted"), device="cpu", compute_type="float32")
    stock = decode_stock(exported, generation__beam=5, generation__min_len=0)
    # CTranslate2 translates nothing by nothing, without asking the model.
    sources = {i: lines[0].split() for i, lines in stock.lines("S").items() if lines[0]}
    results = translator.translate_batch(list(sources.values()), beam_size=5, min_decoding_length=0, return_scores=True)
    for i, result in zip(sources, results):
        assert " ".join(result.hypotheses[0]) == stock.hypotheses()[i][0]
        assert result.scores[0] / math.log(2) == pytest.approx(stock.scores()[i][0], abs=1e-4)

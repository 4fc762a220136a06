"""Unknown words of a translation become the source's words, or those of a dictionary, by the alignment."""

import pytest
import torch
from fairseq import utils
from fairseq.data import Dictionary

from depth_adaptive_fairseq.compat.replace_unknowns import Alignment

SOURCE = ["Quasten@@", "flosser", "kauft", "Haus"]


@pytest.fixture
def dictionary():
    dictionary = Dictionary()
    for word in ("buys", "hou@@", "se"):
        dictionary.add_symbol(word)
    return dictionary


@pytest.mark.parametrize(
    "alignment",
    [
        [(1, 0), (2, 1), (0, 2), (3, 3)],
        # For each target word, the attention to each source word and to the end of the sentence.
        [["0.1", "0.9", "0", "0", "0"], ["0", "0", "1", "0", "0"], ["0.6", "0", "0", "0", "0.9"], ["0", "0", "0", "1", "0"]],
    ],
    ids=["hard", "soft"],
)
@pytest.mark.parametrize(
    "words, replacements, joined, expected",
    [
        (["<unk>", "buys", "<unk>", "se"], {}, None, "flosser buys Quasten@@ se"),
        (["<unk>", "buys", "<unk>", "se"], {"flosser": "finned"}, None, "finned buys Quasten@@ se"),
        (["<unk>", "buys", "<unk>", "se"], {}, "@@ ", "flosser buys Quastense"),
        (["hou@@", "se", "<unk>", "<unk>"], {}, "@@ ", "house QuastenHaus"),
    ],
)
def test_words_in_the_place_of_unknown_ones(dictionary, alignment, words, replacements, joined, expected):
    tokens = torch.tensor([*(dictionary.index(word) for word in words), dictionary.eos()]).int()
    _, text, _ = utils.post_process_prediction(
        tokens, "what is printed", Alignment(alignment, SOURCE), replacements, dictionary, joined, {dictionary.eos()}
    )
    assert text == expected


def test_what_no_source_word_is_aligned_to_stays_unknown(dictionary):
    tokens = torch.tensor([dictionary.unk(), dictionary.unk(), dictionary.eos()]).int()
    for alignment in ([], [(9, 0)], [(-1, 1)]):
        _, text, _ = utils.post_process_prediction(tokens, "", Alignment(alignment, SOURCE), {}, dictionary)
        assert text == "<unk> <unk>"


def test_dictionaries_of_alignments(tmp_path):
    assert utils.load_align_dict(None) is None
    assert utils.load_align_dict("") == utils.load_align_dict("@@ ") == {}
    path = tmp_path / "aligned"
    path.write_text("Haus house\nBär bear\n", encoding="utf-8")
    assert utils.load_align_dict(str(path)) == {"Haus": "house", "Bär": "bear"}


@pytest.mark.parametrize("content, part", [(None, "No such file"), (b"a b\na\n", "line 2 has 1 words"), (b"\xe4 b\n", "UTF-8")])
def test_dictionaries_that_cannot_be_read(tmp_path, content, part):
    path = tmp_path / "aligned"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=part) as raised:
        utils.load_align_dict(str(path))
    assert raised.value.is_user_error

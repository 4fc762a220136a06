"""fairseq-preprocess: one sentence a line feed, whatever the workers, and as many on one side as on the other."""

import random

import pytest
from fairseq import options
from fairseq.data import Dictionary, data_utils
from fairseq.tasks.translation import load_langpair_dataset
from fairseq_cli import preprocess

from tests.end_to_end.commands import PLUGIN, assert_ok, assert_refused
from tests.end_to_end.training import ADAPTIVE, SIZES

WORDS = ["hund", "ä", "語", "a\rb", "c\u2028d", "e\x85f", "\x0c", "😀"]


def corpus(lines: int, seed: int = 1) -> str:
    """Text with empty lines, carriage returns before some line feeds, and none at its end."""
    draw = random.Random(seed)
    sentences = [" ".join(draw.choices(WORDS, k=draw.choice([0, 0, 1, 3, 9]))) for _ in range(lines)]
    return "".join(f"{sentence}{draw.choice(['', chr(13)])}\n" for sentence in sentences) + "end"


def write(folder, **files):
    """Write ``train_de="..."`` to ``train.de``, and so on."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_bytes(text.encode())
    return folder


def binarise(folder, *more, **entries):
    """fairseq-preprocess in this process, on ``train.de`` and ``train.en`` of a folder."""
    command = ["-s", "de", "-t", "en", "--trainpref", str(folder / "train"), "--destdir", str(folder / "bin"), *more]
    arguments = options.get_preprocessing_parser().parse_args(command)
    vars(arguments).update(entries)
    preprocess.main(arguments)
    return folder / "bin"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".log"}


def sentences(folder, language, dataset_impl="mmap"):
    """What a binarised side says, sentence by sentence."""
    dictionary = Dictionary.load(str(folder / f"dict.{language}.txt"))
    found = data_utils.load_indexed_dataset(str(folder / f"train.de-en.{language}"), dictionary, dataset_impl)
    return [dictionary.string(found[i]) for i in range(len(found))]


@pytest.mark.parametrize("text, workers", [("ä hund\r\n\r\n\r\n", 3), (corpus(200), 4)], ids=["small", "large"])
def test_the_same_files_for_any_number_of_workers(run, tmp_path, text, workers):
    """The small one is a single sentence and two empty ones, which three workers took for five."""
    write(tmp_path, train_de=text, train_en=text)
    command = ("-s", "de", "-t", "en", "--trainpref", "train", "--destdir", "many", "--workers", workers)
    assert_ok(run("fairseq-preprocess", *command))
    assert contents(tmp_path / "many") == contents(binarise(tmp_path))
    expected = [" ".join(line.split()) for line in text.removesuffix("\n").split("\n")]
    assert sentences(tmp_path / "many", "de") == expected
    assert sentences(tmp_path / "many", "en") == expected


def test_raw_data_has_the_same_sentences(tmp_path):
    text = corpus(50)
    write(tmp_path, train_de=text, train_en=text)
    folder = binarise(tmp_path, "--dataset-impl", "raw")
    assert sentences(folder, "de", "raw") == [" ".join(line.split()) for line in text.split("\n")]


def test_an_alignment_dictionary_goes_by_line_feeds(tmp_path):
    """--alignfile: a carriage return in a source line moved all pairs behind it."""
    write(tmp_path, train_de="a\rb\nc\n", train_en="A B\nC\n", pairs="0-0 1-1\n0-0\n")
    folder = binarise(tmp_path, "--alignfile", str(tmp_path / "pairs"))
    assert set((folder / "alignment.de-en.txt").read_text().splitlines()) == {"a A", "b B", "c C"}


FLAG = "#fairseq:overwrite"
ROWS = ["a 3", f"<pad> 5 {FLAG}", "b 2", f"</s> 1 {FLAG}", f"<unk> 4 {FLAG}", f"a 9 {FLAG}"]


def test_a_dictionary_that_overwrites_is_the_same_in_the_data_folder(tmp_path):
    """Special symbols keep the first places, all rows keep theirs, and text is binarised as before."""
    text = "a b <pad> </s> <unk> else\n"
    write(tmp_path, given="\n".join(ROWS) + "\n", train_de=text, train_en=text)
    folder = binarise(tmp_path, "--srcdict", str(tmp_path / "given"), "--joined-dictionary")
    given, saved = (Dictionary.load(str(path)) for path in (tmp_path / "given", folder / "dict.de.txt"))
    assert (folder / "dict.de.txt").read_text() == (folder / "dict.en.txt").read_text() == (tmp_path / "given").read_text()
    assert [saved.bos(), saved.pad(), saved.eos(), saved.unk()] == [0, 1, 2, 3]
    assert saved.symbols == given.symbols == ["<s>", "<pad>", "</s>", "<unk>", "a", "<pad>", "b", "</s>", "<unk>", "a"]
    assert saved.indices == given.indices and saved.count == given.count
    pair = load(folder)[0]
    assert pair["source"].tolist() == pair["target"].tolist() == [9, 6, 5, 7, 8, saved.unk(), saved.eos()]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_unequal_sides_are_refused_before_anything_is_written(run, tmp_path, split):
    texts = {f"{name}_{side}": "a\nb\n" for name in ("train", "valid", "other", "test") for side in ("de", "en")}
    write(tmp_path, **{**texts, f"{split}_en": "a\nb\nc"})
    done = run(
        "fairseq-preprocess", "-s", "de", "-t", "en", "--destdir", "bin", "--trainpref", "train",
        "--validpref", "other,valid", "--testpref", "test",
    )  # fmt: skip
    assert_refused(done, f"{split}.de has 2, {split}.en has 3")
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize("option", ["alignfile", "align_suffix"])
def test_an_alignment_of_other_length_is_refused(tmp_path, option):
    write(tmp_path, train_de="a\nb\n", train_en="A\nB\n", train_align="0-0\n")
    value = str(tmp_path / "train.align") if option == "alignfile" else "align"
    with pytest.raises(ValueError, match=r"train\.align has 1") as raised:
        binarise(tmp_path, **{option: value})
    assert raised.value.is_user_error
    assert not (tmp_path / "bin").exists()


def test_one_side_alone_is_compared_with_nothing(tmp_path):
    write(tmp_path, train_de="a\nb\n", train_en="A\n")
    assert contents(binarise(tmp_path, "--only-source"))


@pytest.fixture
def unequal(tmp_path):
    """A data folder, as others made it, with 3 and 2 sentences in ``train``, and 2 and 3 in ``train1``."""
    write(tmp_path, train_de="a\nb\nc\n", train_en="a\nb\nc\n")
    folder = binarise(tmp_path, "--validpref", str(tmp_path / "train"))
    write(tmp_path, train_de="a\nb\n", train_en="a\nb\n")
    more = binarise(write(tmp_path / "more", train_de="a\nb\n", train_en="a\nb\n"))
    for side, other in (("en", "de"), ("de", "en")):
        for extension in ("bin", "idx"):
            kept = folder / f"train.de-en.{side}.{extension}"
            (folder / f"train1.de-en.{side}.{extension}").write_bytes(
                (kept if side == "en" else more / kept.name).read_bytes()
            )
    for extension in ("bin", "idx"):
        (folder / f"train.de-en.en.{extension}").write_bytes((more / f"train.de-en.en.{extension}").read_bytes())
    return folder


def test_a_folder_with_unequal_sides_is_refused_by_training(run, unequal):
    options = ("--max-tokens", 100, "--max-update", 1, "--optimizer", "adam")
    done = run("fairseq-train", unequal, *PLUGIN, *ADAPTIVE, *SIZES, *options)
    assert_refused(done, "train.de-en.de has 3", "train.de-en.en has 2")


def load(folder, **more):
    dictionary = Dictionary.load(str(folder / "dict.de.txt"))
    usual = dict(
        combine=True, dataset_impl=None, upsample_primary=1, left_pad_source=True, left_pad_target=False,
        max_source_positions=10, max_target_positions=10,
    )  # fmt: skip
    return load_langpair_dataset(str(folder), "train", "de", dictionary, "en", dictionary, **{**usual, **more})


def test_parts_whose_sums_are_equal_are_refused(unequal):
    with pytest.raises(ValueError, match="train.de-en.de has 3, .*train.de-en.en has 2"):
        load(unequal)


def test_an_alignment_that_is_too_long_is_refused_when_loaded(tmp_path):
    write(tmp_path, train_de="a\nb\n", train_en="A\nB\n", train_align="0-0\n0-0\n")
    folder = binarise(tmp_path, "--align-suffix", "align")
    assert len(load(folder, load_alignments=True)) == 2
    write(tmp_path / "longer", train_de="a\n", train_en="A\n")
    shorter = binarise(tmp_path / "longer")
    for extension in ("bin", "idx"):
        name = f"train.align.de-en.{extension}"
        (shorter / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match="source side has 1, the target side has 1, the alignment has 2"):
        load(shorter, load_alignments=True)

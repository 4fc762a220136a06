"""The text side of commands/data_preparation: raw lines, tokens, cutting, BPE, and the template's errors."""


import pytest
import sentencepiece
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sacremoses import MosesDetokenizer

from depth_adaptive_fairseq.commands import main
from depth_adaptive_fairseq.commands.data_preparation import bpe, cutting, raw_text, tokenization
from depth_adaptive_fairseq.commands.data_preparation.errors import PreparationError
from depth_adaptive_fairseq.commands.data_preparation.template import Cut, Tokenization, find_template, load_template

SENTENCES = [
    "Ein Mann (im blauen Hemd) liest »das Buch«.",
    "It's 7:30 PM - and twenty-seven dogs don't care!",
    "Preis: 1.234,50 € & mehr | weniger <hier> [dort]",
    "z. B. Dr. Müller ... usw.",
]
# everything but line ends and surrogates, which no UTF-8 file holds within a line
LINE = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(LINE, min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_raw_lines_survive_windows_ends_byte_order_mark_and_missing_last_end(
    tmp_path_factory, given_lines, end, mark, last
):
    path = tmp_path_factory.getbasetemp() / "lines.de"
    text = end.join(given_lines) + (end if last or not given_lines[-1] else "")
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode("utf-8"))
    expected = list(given_lines)
    if not mark:  # a mark in the text itself, at the file's start, cannot be told from one of the file
        expected[0] = expected[0].removeprefix("\ufeff")
    assert list(raw_text.lines(path)) == expected


def test_carriage_return_within_a_line_is_no_line_end(tmp_path):
    path = tmp_path / "lines.de"
    path.write_bytes("ein\rzwei\u2028drei\n\nvier\r\n".encode())
    assert list(raw_text.lines(path)) == ["ein zwei\u2028drei", "", "vier"]


@pytest.mark.parametrize("language", ["de", "en"])
@given(line=LINE)
@settings(max_examples=60, deadline=None)
def test_tokens_are_separated_by_single_spaces_for_any_text(language, line):
    for options in (Tokenization(), Tokenization(tokenizer="none", normalize_punctuation=False)):
        tokens = tokenization.tokenizer(options, language)(line)
        assert tokens == " ".join(tokens.split())
        assert tokenization.WORD_MARK not in tokens


@pytest.mark.parametrize("sentence", SENTENCES)
def test_detokeniser_restores_the_sentence(sentence):
    """With escapes and split dashes, as fairseq's `--tokenizer moses` expects them."""
    tokens = tokenization.tokenizer(Tokenization(normalize_punctuation=False), "en")(sentence)
    restored = MosesDetokenizer("en").detokenize(tokens.split())
    assert restored.replace(" ", "") == sentence.replace(" ", "")
    assert tokens != sentence


def test_tokenisation_options():
    def tokens(**options):
        return tokenization.tokenizer(Tokenization(**options), "en")("It's a well-kept „secret“ I")

    assert tokens() == "It &apos;s a well @-@ kept &quot; secret &quot; I"
    assert tokens(escape=False) == 'It \'s a well @-@ kept " secret " I'
    assert tokens(aggressive_dash_splits=False) == "It &apos;s a well-kept &quot; secret &quot; I"
    assert tokens(normalize_punctuation=False) == "It &apos;s a well @-@ kept „ secret “ I"
    assert tokens(lowercase=True) == "it &apos;s a well @-@ kept &quot; secret &quot; i"
    assert tokens(tokenizer="none", normalize_punctuation=False) == "It's a well-kept „secret“ I"


def test_number_of_workers_makes_no_difference():
    sentences = [f"{sentence} {number}" for number in range(600) for sentence in SENTENCES]
    alone, together = (tokenization.tokenize_lines(sentences, Tokenization(), "de", workers, "") for workers in (1, 2))
    assert alone == together and len(alone) == len(sentences)


@given(
    st.integers(0, 12), st.integers(0, 12), st.integers(1, 3), st.integers(3, 9), st.sampled_from([None, 1, 1.5, 2.0])
)
def test_cut_is_clean_corpus_n(source_length, target_length, low, high, ratio):
    cut = Cut(min_tokens=low, max_tokens=high, max_ratio=ratio)
    kept = all(low <= length <= high for length in (source_length, target_length))
    if kept and ratio:
        kept = source_length / target_length <= ratio and target_length / source_length <= ratio
    assert (cutting.reason_to_drop("a " * source_length, "b " * target_length, cut) is None) == kept


def test_cut_keeps_pairs_together_and_counts(tmp_path):
    (tmp_path / "train.de").write_text("eins\n\nzwei drei vier fünf\nsechs sieben\n", encoding="utf-8")
    (tmp_path / "train.en").write_text("one\ntwo\nthree\nfour five\n", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    report = cutting.cut_training_data(out, tmp_path, ("de", "en"), Cut(max_ratio=3))
    assert report["kept"] == 2 and report["before"] == 4
    assert report["dropped"] == {"too short": 1, "too long": 0, "too unequal": 1}
    assert (out / "train.de").read_text(encoding="utf-8") == "eins\nsechs sieben\n"
    assert (out / "train.en").read_text(encoding="utf-8") == "one\nfour five\n"
    with pytest.raises(PreparationError, match="No training pair"):
        cutting.cut_training_data(out, tmp_path, ("de", "en"), Cut(min_tokens=9))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    for language in ("de", "en"):
        tokens = [tokenization.tokenizer(Tokenization(), language)(sentence) for sentence in SENTENCES * 5]
        (folder / f"train.{language}").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    bpe.learn(folder, folder, ("de", "en"), 110)
    return folder


def test_model_does_not_depend_on_the_place(model, tmp_path):
    report = bpe.learn(tmp_path, model, ("de", "en"), 110)
    assert report == {"vocabulary": 110}
    assert (tmp_path / bpe.MODEL).read_bytes() == (model / bpe.MODEL).read_bytes()


@given(line=LINE)
@settings(deadline=None)
def test_joining_the_pieces_gives_the_tokens_back(model, line):
    """Characters that the model has never seen included; joined as fairseq's `--remove-bpe sentencepiece` does."""
    tokens = tokenization.tokenizer(Tokenization(), "de")(line)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model / bpe.MODEL)).encode(tokens, out_type=str)
    assert " ".join(pieces).replace(" ", "").replace("\u2581", " ").strip() == tokens


@pytest.mark.parametrize("name", ["multi30k.de-en", "phrases.de-en"])
def test_templates_of_the_project_load(name):
    template = load_template(find_template(name))
    assert template.name == name and template.licence


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenise": {}}, "unknown key tokenise; valid keys are name, languages"),
        ({"bpe": {"size": 3}}, "bpe has the unknown key size; valid keys are vocabulary_size"),
        ({"bpe": {}}, "bpe lacks the key vocabulary_size"),
        ({"bpe": {"vocabulary_size": "many"}}, "bpe.vocabulary_size is 'many'; a whole number is needed"),
        ({"bpe": {"vocabulary_size": True}}, "bpe.vocabulary_size is True; a whole number is needed"),
        ({"bpe": {"vocabulary_size": 0}}, "bpe.vocabulary_size is 0; it must be at least"),
        ({"tokenize": {"tokenizer": "spacy"}}, "tokenize.tokenizer is 'spacy'; allowed are moses, none"),
        ({"tokenize": {"lowercase": "yes please"}}, "tokenize.lowercase is 'yes please'; true or false is needed"),
        ({"cut": {"max_tokens": 3, "min_tokens": 4}}, "cut.max_tokens is 3; it must be at least 4"),
        ({"cut": {"max_ratio": "1.5x"}}, "cut.max_ratio is '1.5x'; a number is needed, or null"),
        ({"cut": []}, "cut must be a mapping"),
        ({"languages": {"source": "de", "target": "de"}}, "two languages are needed"),
        ({"name": "../elsewhere"}, "name is '../elsewhere'"),
        ({"source": "files"}, "source is 'files'; a mapping is needed"),
        ({"bpe": {"vocabulary_size": 2**31}}, "bpe.vocabulary_size is 2147483648; it must be at least 10 and at most 10000000"),
        ({"bpe": {"vocabulary_size": -(10**40)}}, "; it must be at least 10"),
        ({"cut": {"lines": 10**30}}, "; it must be at least 1 and at most 1000000000"),
        ({"cut": {"max_ratio": float("nan")}}, "cut.max_ratio is nan; it must be at least 1"),
        ({"cut": {"max_ratio": float("inf")}}, "cut.max_ratio is inf; it must be at least 1 and at most"),
        ({"binarize": {"threshold": 10**12}}, "binarize.threshold is 1000000000000; it must be"),
        ({"cut": {"lines": [["x" * 1000] * 1000]}}, "a whole number is needed, or null"),
    ],
)
def test_template_errors_are_sentences(tmp_path, changes, message):
    mapping = yaml.safe_load(find_template("phrases.de-en").read_text(encoding="utf-8"))
    path = tmp_path / "template.yaml"
    path.write_text(yaml.safe_dump({**mapping, **changes}), encoding="utf-8")
    with pytest.raises(PreparationError) as caught:
        load_template(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 20_000, "is nested too deeply"),
        ("a: " * 2 + "{x: " * 20_000, "is not a valid YAML file"),
        ("bpe: {vocabulary_size: " + "9" * 5000 + "}", "is not a valid YAML file"),
        ("bpe: {vocabulary_size: 0x" + "f" * 5000 + "}", "is not a valid YAML file"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]", "it has an alias (*name)"),
        ("name: &a [*a]", "it has an alias (*name)"),
        ('name: "\\ud800"', "is not a valid YAML file"),
        ("name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("", "must be a mapping with the keys name, languages"),
    ],
    ids=range(9),
)
def test_what_yaml_can_hold_and_templates_cannot(tmp_path, text, message):
    path = tmp_path / "template.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PreparationError) as caught:
        load_template(path)
    assert message in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "download"}, "source.kind is 'download'; available are files, generated"),
        ({"kind": "generated", "generator": "novels"}, "source.generator is 'novels'; available are phrases"),
        ({"kind": "generated", "generator": "phrases", "arguments": {"seed": "x"}}, "a whole number is needed"),
        ({"kind": "files", "splits": {"train": "a", "valid": "b"}}, "lacks the split test"),
        ({"kind": "files", "splits": {"train": "a", "valid": "b", "test": "c", "dev": "d"}}, "splits names dev"),
        ({"kind": "files", "splits": {"train": "a", "valid": "b", "test": "c", "test2": "d"}}, "without gaps"),
        ({"kind": "files", "splits": {"train": "a", "valid": "b", "test" + "9" * 5000: "c"}}, "splits are train, valid, test"),
        (
            {"kind": "files", "splits": {"train": "a", "valid": "b", "test": "c"}, "sha256": {"a.de": "12"}},
            "64 hexadecimal",
        ),
    ],
)
def test_source_errors_are_sentences(tmp_path, source, message):
    from depth_adaptive_fairseq.commands.data_preparation.sources import make_source

    mapping = yaml.safe_load(find_template("phrases.de-en").read_text(encoding="utf-8"))
    path = tmp_path / "template.yaml"
    path.write_text(yaml.safe_dump({**mapping, "source": source}), encoding="utf-8")
    with pytest.raises(PreparationError) as caught:
        make_source(load_template(path), None)
    assert message in str(caught.value)


@pytest.mark.parametrize("workers", ["0", "-1", "1001", "9" * 5000, "two"])
def test_a_number_of_processes_that_nobody_has(workers, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "phrases.de-en", "--workers", workers])
    assert ended.value.code == 2 and "invalid number from 1 to 1000 value" in capsys.readouterr().err

"""--replace-unk: at full depth unknown words become words of the source; with other policies it is refused at once."""

import pytest
from fairseq import options
from fairseq_cli import generate

from tests.end_to_end.commands import PLUGIN, assert_ok, assert_refused
from tests.end_to_end.in_process import InProcess
from tests.end_to_end.training import TASK

LINES = ["Xaver kauft Quastenflosser .", "Ötzi sieht zwei grüne Yaks ."]


@pytest.fixture(scope="session")
def raw_data(server, build_once, data):
    def build(folder):
        prefixes = (f"--{split}pref={data.parent / 'raw' / split}" for split in ("train", "valid", "test"))
        assert_ok(
            server.run(
                "fairseq-preprocess", "-s", "de", "-t", "en", *prefixes, "--joined-dictionary", "--srcdict", data / "dict.de.txt",
                "--dataset-impl", "raw", "--destdir", folder, cwd=folder,
            )
        )  # fmt: skip

    return build_once("raw-data", build)


def check(done, sources):
    """The words of each translation, all unknown, are those of its source that the alignment says."""
    for sentence, source in enumerate(sources):
        pairs = [tuple(map(int, pair.split("-"))) for pair in done.lines("A")[sentence][0].split()]
        words = done.hypotheses()[sentence][0].split()
        assert words == ([source.split()[aligned] for aligned, _ in pairs] or ["<unk>"] * 6)
        assert len(words) == 6


def test_interactive(converse, trained):
    done = converse(
        trained.checkpoint, LINES, generation__replace_unk="", generation__print_alignment="hard", generation__unkpen=-100.0,
        generation__max_len_b=6,
    )  # fmt: skip
    check(done, LINES)
    copied = set(" ".join(translations[0] for translations in done.hypotheses().values()).split())
    assert copied & {"Xaver", "Quastenflosser", "Ötzi", "Yaks"}, "no word that the dictionary does not have"


@pytest.mark.parametrize("task, model", [(TASK[1], "trained"), ("translation", "stock")])
def test_generate(raw_data, request, tmp_path, monkeypatch, task, model):
    monkeypatch.chdir(tmp_path)
    checkpoint = request.getfixturevalue(model).checkpoint
    command = (
        raw_data, "-s", "de", "-t", "en", *PLUGIN, "--task", task, "--path", checkpoint, "--num-workers", 0, "--dataset-impl", "raw",
        "--replace-unk", "--max-len-b", 6,
    )  # fmt: skip
    decode = InProcess(generate.main, options.get_generation_parser(), *command)
    sources = (raw_data / "test.de-en.de").read_text(encoding="utf-8").split("\n")[:-1]
    done = decode(generation__unkpen=-100.0, generation__print_alignment="hard")
    check(done, sources)

    words = {*" ".join(sources).split()}
    (tmp_path / "aligned").write_text("".join(f"{word} {word.upper()}\n" for word in words), encoding="utf-8")
    replaced = decode(generation__unkpen=-100.0, generation__replace_unk=tmp_path / "aligned")
    for index, source in enumerate(sources):
        words = done.hypotheses()[index][0]
        assert replaced.hypotheses()[index][0] == (words.upper() if source else words)


def test_with_another_policy(run, data, trained):
    done = run(
        "fairseq-interactive", data, *PLUGIN, *TASK, "--path", trained.checkpoint, "--replace-unk", "--exit-policy", "fixed",
        "--exit-at", 2, stdin="ein Koch\n",
    )  # fmt: skip
    assert_refused(done, "--replace-unk", "--exit-policy fixed", "--exit-policy full")
    assert not done.hypotheses()


def test_with_binarised_data(decode, trained):
    with pytest.raises(ValueError, match="--dataset-impl raw") as raised:
        decode(trained.checkpoint, generation__replace_unk="")
    assert raised.value.is_user_error

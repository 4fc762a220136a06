"""What the README says about options and results is what the code and the measured results say."""

from pathlib import Path

import pytest

from depth_adaptive_fairseq.commands import main
from depth_adaptive_fairseq.commands.options import as_markdown, as_text, plugin_options

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """The text between the README's marks for *name*."""
    return README.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]


def test_the_tables_of_options_are_those_of_the_code():
    assert section("options").strip() == as_markdown().strip(), (
        "write the output of `depth-adaptive options --markdown` between the README's marks"
    )


def test_every_option_is_listed_with_its_help():
    listed = as_text()
    for _, options in plugin_options():
        for option in options:
            assert option.flag in listed and option.help in listed and option.help.strip()


@pytest.mark.parametrize("line", [line for line in README.splitlines() if line.startswith("    depth-adaptive ")])
def test_commands_that_the_readme_calls_exist(line, capsys):
    words = line.split()
    with pytest.raises(SystemExit) as ended:
        main([words[1], "--help"])
    assert not ended.value.code
    known = capsys.readouterr().out
    assert all(word in known for word in words if word.startswith("--"))


def printed(capsys, *command):
    """What a command prints of files of the repository."""
    assert main(list(command)) == 0
    return capsys.readouterr().out.strip()


SPEED = "scripts/recipes/multi30k.de-en.speed"


@pytest.mark.parametrize(
    "name, command",
    [
        ("speed", ("benchmark", "--table", f"{SPEED}/benchmark.json")),
        ("speed", ("benchmark", "--table", f"{SPEED}/benchmark.2threads.json")),
        ("training cost", ("benchmark-training", "--show", f"{SPEED}/training.json")),
        ("results", ("table", "scripts/recipes/multi30k.de-en/results.csv")),
    ],
)
def test_the_tables_are_those_of_the_files(name, command, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert printed(capsys, *command) in section(name), f"write the output of `depth-adaptive {' '.join(command)}` there"

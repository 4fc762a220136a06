"""What the README says about options and results is what the code and the measured results say."""

import subprocess
import sys
from pathlib import Path

import pytest

from depth_adaptive_fairseq.options import as_markdown, as_text, plugin_options

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """The text between the README's marks for *name*."""
    return README.split(f"<!-- {name} -->\n")[1].split(f"<!-- end of {name} -->")[0]


def test_the_tables_of_options_are_those_of_the_code():
    assert section("options").strip() == as_markdown().strip(), (
        "write the output of `python -m depth_adaptive_fairseq.options --markdown` between the README's marks"
    )


def test_every_option_is_listed_with_its_help():
    listed = as_text()
    for _, options in plugin_options():
        for option in options:
            assert option.flag in listed and option.help in listed and option.help.strip()


@pytest.mark.parametrize("line", [line for line in README.splitlines() if line.startswith("    python scripts/")])
def test_scripts_that_the_readme_calls_exist(line):
    assert (ROOT / line.split()[1]).is_file()


@pytest.mark.parametrize(
    "name, script, measurements",
    [
        ("speed", "benchmark_table.py", "scripts/recipes/multi30k.de-en.speed/benchmark.json"),
        ("speed", "benchmark_table.py", "scripts/recipes/multi30k.de-en.speed/benchmark.2threads.json"),
        ("training cost", "benchmark_training.py", "scripts/recipes/multi30k.de-en.speed/training.json"),
    ],
)
def test_the_benchmarks_are_those_of_the_files(name, script, measurements):
    show = ["--show"] if script == "benchmark_training.py" else []
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", *show, measurements], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in section(name), f"write the output of `python scripts/{script} {' '.join(show)} {measurements}` there"


def test_the_results_are_those_of_the_file():
    results = "scripts/recipes/multi30k.de-en/results.csv"
    done = subprocess.run(
        [sys.executable, "scripts/results_table.py", results], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in section("results"), f"write the output of `python scripts/results_table.py {results}` there"

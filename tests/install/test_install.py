"""A plain and an editable installation: the start-up file is there, works, and goes again."""

import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import fairseq
import pytest

import depth_adaptive_fairseq

REPOSITORY = Path(depth_adaptive_fairseq.__file__).parents[1]
SITE_PACKAGES = Path(fairseq.__file__).parents[1]


def call(*command, cwd, **variables):
    environment = {**os.environ, **variables}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, text=True, capture_output=True,
        timeout=300, check=False,
    )


def compilers(folder, refusing):
    """Variables that name a compiler which refuses options of that pattern of the shell's: compiling takes longest."""
    compiler = folder / "compiler"
    compiler.write_text(f'#!/bin/sh\nfor word; do case "$word" in {refusing}) exit 1;; esac; done\nexec g++ "$@"\n')
    compiler.chmod(0o755)
    return dict.fromkeys(("CC", "CXX"), shlex.quote(str(compiler)))


class Environment:
    """A virtual environment that sees what is installed in the present one, but its .pth files."""

    def __init__(self, folder):
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        self.site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
        (self.site / "zz_present_environment.pth").write_text(f"{SITE_PACKAGES}\n")

    def pip(self, *arguments, compiled="baseline"):
        refusing = "-m*" if compiled == "baseline" else "*"
        done = call(
            sys.executable, "-m", "pip", "--python", self.python, "--no-input",
            "--disable-pip-version-check", *arguments, cwd=self.folder, **compilers(self.folder, refusing),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def run(self, *command):
        return call(self.python, *command, cwd=self.folder)

    def files(self):
        """What is installed, without what Python compiled."""
        found = (path.relative_to(self.site) for path in self.site.rglob("*"))
        return {str(path) for path in found if "__pycache__" not in path.parts}


@pytest.fixture
def sources(tmp_path):
    """A copy, so that building leaves nothing in the repository."""
    if not (REPOSITORY / "setup.py").exists():
        pytest.skip("the tests run without the repository, so that there is nothing to install")
    copy = tmp_path / "sources"
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(REPOSITORY / "depth_adaptive_fairseq", copy / "depth_adaptive_fairseq",
                    ignore=ignored)
    shutil.copytree(REPOSITORY / "data-bin-templates", copy / "data-bin-templates")
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


@pytest.mark.parametrize("options", [[], ["--editable"]], ids=["plain", "editable"])
def test_installation(options, sources, tmp_path):
    environment = Environment(tmp_path)
    before = environment.files()

    environment.pip(
        "install", "--no-deps", "--no-build-isolation", "--no-index", *options, sources, compiled="nothing" if options else "baseline"
    )
    installed = environment.files()
    assert {"depth_adaptive_fairseq.pth", "depth_adaptive_fairseq_startup.py"} <= installed
    if not options:
        assert shutil.which("g++") is None or any("native/_kernels_baseline" in name for name in installed)
        config = (sources / "depth_adaptive_fairseq" / "config").glob("*.yaml")
        assert {f"depth_adaptive_fairseq/config/{path.name}" for path in config} <= installed
        assert "depth_adaptive_fairseq/data-bin-templates/phrases.de-en/template.yaml" in installed

    # The package's own commands, with the templates of data sets.
    done = environment.run(environment.python.parent / "depth-adaptive", "prepare", "nothing.de-en")
    assert done.returncode == 1, done.stderr
    assert done.stderr.rstrip().endswith("nor one of the available templates: multi30k.de-en, phrases.de-en.")

    # The mends come from this installation, before any of the project's code is asked for.
    origin = sources if options else environment.site
    done = environment.run(
        "-c",
        "import sys, hydra; print(sys.modules['depth_adaptive_fairseq.compat'].__file__)",
    )
    assert done.stdout.strip() == str(origin / "depth_adaptive_fairseq/compat/__init__.py"), done

    # A console script of fairseq's, with the plugin named from a folder that does not hold it.
    done = environment.run(
        Path(sys.executable).parent / "fairseq-train", "data", "--user-dir",
        "depth_adaptive_fairseq", "--arch", "depth_adaptive_transformer", "--task", "translation",
        "--max-tokens", "100",
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.rstrip().endswith("fairseq-train: error: data folder data not found")

    environment.pip("uninstall", "--yes", "depth_adaptive_fairseq")
    assert environment.files() == before
    done = environment.run("-c", "import hydra")
    assert "mutable default" in done.stderr, "something of the mends is left"


def test_an_editable_installation_whose_sources_are_gone_is_silent(sources, tmp_path):
    environment = Environment(tmp_path)
    environment.pip(
        "install", "--no-deps", "--no-build-isolation", "--no-index", "--editable", sources, compiled="nothing"
    )
    shutil.rmtree(sources)
    done = environment.run("-c", "import json")
    assert (done.returncode, done.stderr) == (0, "")
    done = environment.run("-c", "import hydra")
    assert "mutable default" in done.stderr


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_kernels_by_a_compiler_without_openmp(sources, tmp_path):
    environment = {**os.environ, **compilers(tmp_path, refusing="-fopenmp|-m*")}
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=sources, env=environment, text=True, capture_output=True,
        timeout=300, check=False,
    )
    assert done.returncode == 0, done.stderr
    made = "import torch; from depth_adaptive_fairseq.native import kernels as k; l = k.load('baseline'); l.set_threads(2)"
    made += "; print(k.Linear(torch.ones(400, 400), None, False, l)(torch.ones(3, 400)).eq(400).all().item())"
    done = subprocess.run([sys.executable, "-c", made], cwd=sources, text=True, capture_output=True, timeout=300, check=False)
    assert done.stdout.strip() == "True", done.stderr

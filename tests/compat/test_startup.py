"""The code that runs at interpreter start: cheap, inert until fairseq is imported, everywhere."""

import os
import textwrap
from pathlib import Path

import depth_adaptive_fairseq_startup

from tests.compat.processes import run, run_script

STARTUP_FOLDER = Path(depth_adaptive_fairseq_startup.__file__).parent


def test_startup_imports_nothing_but_itself():
    script = f"""
        import sys
        sys.path.insert(0, {str(STARTUP_FOLDER)!r})
        before = set(sys.modules)
        import depth_adaptive_fairseq_startup
        print(*sorted(set(sys.modules) - before))
    """
    done = run("python", "-S", "-c", textwrap.dedent(script))
    assert done.stdout.split() == ["depth_adaptive_fairseq_startup"], done.stderr


def test_programs_without_fairseq_get_the_watcher_only():
    done = run_script("""
        import sys
        import json, logging, argparse
        heavy = {"torch", "numpy", "fairseq", "hydra", "omegaconf"}
        print(*sorted(name for name in sys.modules
                      if name in heavy or name.startswith("depth_adaptive_fairseq")))
    """)
    assert done.stdout.split() == ["depth_adaptive_fairseq_startup"], done.stderr


def test_importing_fairseq_loads_the_mends_but_not_the_package():
    done = run_script("""
        import sys
        import fairseq
        assert "depth_adaptive_fairseq.compat.quiet" in sys.modules
        assert "depth_adaptive_fairseq" not in sys.modules
        from depth_adaptive_fairseq import compat
        assert compat is sys.modules["depth_adaptive_fairseq.compat"]
        first = compat.install()
        assert compat.install() is first
        assert [type(finder).__name__ for finder in sys.meta_path].count("MendingFinder") == 1
        assert "FirstImport" not in [getattr(finder, "__name__", "") for finder in sys.meta_path]
    """)
    assert done.returncode == 0, done.stderr


def test_without_the_start_up_file_the_package_installs_the_mends():
    """Put on the path without being installed, as --user-dir PATH does."""
    import fairseq

    import depth_adaptive_fairseq

    site_packages = Path(fairseq.__file__).parents[1]
    repository = Path(depth_adaptive_fairseq.__file__).parents[1]
    done = run(
        "python", "-S", "-c",
        # -S also leaves out a built-in name that fairseq happens to mention.
        "import builtins; builtins.help = str\n"
        "import sys, depth_adaptive_fairseq, fairseq.modules.transformer_layer as layers\n"
        "assert 'depth_adaptive_fairseq_startup' not in sys.modules\n"
        "print(layers.TransformerEncoderLayerBase.__init__.__wrapped__.__name__)",
        PYTHONPATH=os.pathsep.join(map(str, (repository, site_packages))),
    )
    assert done.stdout.split() == ["__init__"], done.stderr


def test_nothing_is_said_when_the_project_is_gone(tmp_path):
    script = f"""
        import sys
        sys.path[:] = [{str(STARTUP_FOLDER)!r}, *(p for p in sys.path if "site-packages" not in p)]
        import depth_adaptive_fairseq_startup as startup
        sys.path[:] = [p for p in sys.path if p != {str(STARTUP_FOLDER)!r}]
        assert startup._load_compat() is None
        try:
            import fairseq
        except ModuleNotFoundError as error:
            print(error)
    """
    done = run("python", "-S", "-c", textwrap.dedent(script), cwd=tmp_path)
    assert done.stdout.strip() == "No module named 'fairseq'", done.stderr
    assert done.stderr == ""


def test_spawned_data_loading_workers(tmp_path):
    """A worker that starts from nothing has the mends, and the user sees no warnings of its."""
    script = tmp_path / "spawn.py"
    script.write_text("""
import sys
from torch.utils.data import DataLoader
from fairseq.data import ListDataset

class Probe(ListDataset):
    def __getitem__(self, index):
        import fairseq.modules.transformer_layer as layers
        return hasattr(layers.TransformerEncoderLayerBase.__init__, "__wrapped__")

if __name__ == "__main__":
    loader = DataLoader(Probe([0]), num_workers=1, multiprocessing_context="spawn",
                        collate_fn=list, pin_memory=True)
    print(list(loader))
""")
    done = run("python", script)
    assert done.stdout.strip() == "[[True]]", done.stderr
    assert done.stderr == ""

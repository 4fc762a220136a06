"""Mistakes end in one sentence on stderr and exit status 1, wherever they are noticed."""

import subprocess
import sys
from argparse import Namespace

import pytest
from fairseq import checkpoint_utils, tasks, utils
from fairseq.data import Dictionary, data_utils
from fairseq.models import build_model
from fairseq.tasks import translation
from omegaconf import OmegaConf

from depth_adaptive_fairseq.compat import user_errors
from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.compat.processes import TINY, assert_one_sentence, run, run_script


class Mistake(ValueError):
    is_user_error = True


@pytest.fixture
def uncaught(monkeypatch, capsys):
    """What the interpreter prints when an exception reaches it, with the mend in place."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/fairseq-train", "data"])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(user_errors, "_leave_threads_behind", lambda: None)  # would end the tests
    user_errors._mend_interpreter()

    def uncaught(error):
        sys.excepthook(type(error), error, error.__traceback__)
        return capsys.readouterr().err

    return uncaught


def test_a_mistake_is_one_line(uncaught):
    said = uncaught(Mistake("3 was given; use 1 or 2"))
    assert said == "fairseq-train: error: 3 was given; use 1 or 2\n"


def test_a_mistake_ends_the_command_at_once_while_threads_run(tmp_path):
    """The interpreter's own way of ending threads can abort the process when they are inside of PyTorch."""
    command = tmp_path / "fairseq-try"
    command.write_text("""
import atexit, threading
import fairseq
from depth_adaptive_fairseq.errors import DepthAdaptiveError
atexit.register(print, "ended in the interpreter's own way")
threading.Thread(target=threading.Event().wait, daemon=True).start()
raise DepthAdaptiveError("3 was given; use 1 or 2")
""")
    done = subprocess.run([sys.executable, str(command)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("fairseq-try: error: 3 was given; use 1 or 2\n") and not done.stdout


def test_the_traceback_can_be_had(uncaught, monkeypatch):
    monkeypatch.setenv("DEPTH_ADAPTIVE_TRACEBACK", "1")
    said = uncaught(Mistake("3 was given; use 1 or 2"))
    assert "Mistake: 3 was given" in said
    assert said.endswith("\nfairseq-train: error: 3 was given; use 1 or 2\n")


def test_other_errors_keep_their_traceback(uncaught):
    assert uncaught(ValueError("a bug")) == "ValueError: a bug\n"


def test_the_projects_own_error_counts():
    assert user_errors.is_user_error(DepthAdaptiveError("text"))
    assert not user_errors.is_user_error(ValueError("text"))


def test_errors_that_a_data_loading_worker_passed_on():
    text = "Caught X in DataLoader worker process 0.\nOriginal Traceback ...\nm.X: use 1 or 2\n"
    assert user_errors.sentence(ValueError(text)) == "use 1 or 2"
    assert user_errors.sentence(ValueError("plain: text")) == "plain: text"


def test_spawned_workers(tmp_path):
    """fairseq starts a process for each GPU; here two of them, on the CPU."""
    script = tmp_path / "spawn.py"
    script.write_text("""
import torch
from omegaconf import OmegaConf
from fairseq.distributed import utils as distributed

def main(cfg):
    error = ValueError("3 was given; use 1 or 2")
    error.is_user_error = True
    raise error

def init(cfg):
    return cfg.distributed_training.distributed_rank

if __name__ == "__main__":
    torch.cuda.device_count = lambda: 1
    cfg = OmegaConf.create({
        "common": {"cpu": True, "tpu": False, "model_parallel_size": 1},
        "distributed_training": {
            "distributed_init_method": "file://%s", "distributed_no_spawn": False,
            "distributed_backend": "gloo", "distributed_rank": 0, "distributed_world_size": 1,
            "device_id": 0,
        },
    })
    distributed.call_main(cfg, main)
""" % (tmp_path / "store"))
    done = run("python", script)
    assert_one_sentence(done, "spawn.py: error: 3 was given; use 1 or 2")


def test_hydra_reports_a_mistake_as_one_line():
    done = run_script("""
        from hydra._internal.utils import run_and_report
        def run_job():
            error = ValueError("3 was given; use 1 or 2")
            error.is_user_error = True
            raise error
        run_and_report(run_job)
    """)
    assert done.returncode == 1
    assert done.stderr == "-c: error: 3 was given; use 1 or 2\n"


def sentence_of(kind, function, *arguments):
    """The message with which the function fails; programs that catch ``kind`` still can."""
    with pytest.raises(kind) as info:
        function(*arguments)
    assert info.value.is_user_error
    return str(info.value)


def test_missing_dictionary(tmp_path):
    path = str(tmp_path / "dict.de.txt")
    said = sentence_of(FileNotFoundError, Dictionary.load, path)
    assert said.startswith(f"dictionary {path} not found") and "fairseq-preprocess" in said


@pytest.mark.parametrize("content, kind", [("word\n", ValueError), ("a 1\na 1\n", RuntimeError)])
def test_broken_dictionary(content, kind, tmp_path):
    path = tmp_path / "dict.de.txt"
    path.write_text(content)
    assert f"dictionary {path} cannot be used" in sentence_of(kind, Dictionary.load, str(path))


def test_dictionary_in_a_wrong_encoding(tmp_path):
    path = tmp_path / "dict.de.txt"
    path.write_bytes(b"\xff\xfe 1\n")
    assert "encoding" in sentence_of(Exception, Dictionary.load, str(path))


def test_missing_data(tmp_path):
    missing = str(tmp_path / "missing")
    said = sentence_of(FileNotFoundError, data_utils.infer_language_pair, missing)
    assert said == f"data folder {missing} not found"


def test_data_folder_without_a_language_pair(tmp_path):
    cfg = OmegaConf.create({"_name": "translation", "data": str(tmp_path)})
    assert "--source-lang" in sentence_of(Exception, tasks.setup_task, cfg)


def test_missing_split(data):
    with pytest.raises(FileNotFoundError, match="nosuch .*--gen-subset") as info:
        translation.load_langpair_dataset(
            str(data), "nosuch", "de", None, "en", None, combine=False, dataset_impl=None,
            upsample_primary=1, left_pad_source=True, left_pad_target=False,
            max_source_positions=1, max_target_positions=1,
        )
    assert info.value.is_user_error


def test_architecture_and_task_of_a_plugin_that_was_not_named():
    model = OmegaConf.create({"_name": "brought_by_a_plugin"})
    assert "--user-dir" in sentence_of(AssertionError, build_model, model, None)
    assert "--user-dir" in sentence_of(AssertionError, tasks.setup_task, model)


def test_missing_model_file(tmp_path):
    path = str(tmp_path / "x.pt")
    said = sentence_of(OSError, checkpoint_utils.load_model_ensemble_and_task, [path])
    assert said == f"model file not found: {path}"


def test_user_dir_that_does_not_exist():
    args = Namespace(user_dir="no_such_plugin")
    said = sentence_of(FileNotFoundError, utils.import_user_module, args)
    assert said.startswith("--user-dir no_such_plugin: there is neither a folder nor an installed")


def test_training_that_goes_on_from_a_model_of_other_sizes(data, checkpoint, tmp_path):
    other = [argument if argument != "16" else "8" for argument in TINY]
    done = run(
        "fairseq-train", data, "--task", "translation", *other,
        "--restore-file", checkpoint, "--save-dir", tmp_path,
    )
    assert_one_sentence(done, "Cannot load model parameters from checkpoint", "size mismatch")

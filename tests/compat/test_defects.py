"""Every defect is there without its mend, and gone with it; both in processes of their own."""

import json
import sys
import textwrap

import pytest

from tests.compat.processes import run_script

# mend: (script that fails without it, what the failure says); where no fairseq can be imported
# without the mend, the script has a process of its own, else all of them share one.
ALONE = {
    "dataclass_defaults": ("import hydra", "mutable default"),
    "typing_io": ("import antlr4", "typing.io"),
    "hydra_plugins": (
        "from hydra.core.plugins import Plugins; Plugins.instance().discover()",
        "find_module",
    ),
}
SINCE = {"typing_io": (3, 13), "hydra_plugins": (3, 12)}

SHARING = {
    "hydra_error_report": (
        """
        import contextlib, io, json
        from hydra._internal.utils import run_and_report
        def report(run_job):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
                run_and_report(run_job)
            return said.getvalue()
        def run_job():
            json.loads("not JSON")
        assert "JSONDecodeError: Expecting value" in report(run_job)
        def run_job():
            exec("raise OSError('the actual error')")
        assert "OSError: the actual error" in report(run_job)
        """,
        "etype",
    ),
    "encoder_fast_path": (
        """
        import argparse, torch
        from fairseq.models.roberta import RobertaEncoder
        from fairseq.models.transformer import TransformerConfig
        from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
        config = TransformerConfig.from_namespace(argparse.Namespace(
            encoder_embed_dim=8, encoder_ffn_embed_dim=8, encoder_attention_heads=2, dropout=0.0))
        layer = TransformerEncoderLayerBase(config).eval()
        layer.load_to_BT = True  # as when a checkpoint is loaded
        padding = torch.tensor([[False, False, False], [False, False, True]])
        with torch.no_grad():
            states = layer(torch.randn(3, 2, 8), padding)
        assert states.shape == (3, 2, 8)
        """,
        "Mask Type should be defined",
    ),
    "numpy_names": (
        """
        import torch
        from fairseq.data import ListDataset, TokenBlockDataset
        sentences = [torch.tensor([5, 6, 2]), torch.tensor([7, 2])]
        blocks = TokenBlockDataset(ListDataset(sentences, [3, 2]), [3, 2], None, 1, 2, "eos")
        assert [len(block) for block in blocks] == [3, 2]
        """,
        "has no attribute 'compat'",
    ),
    "line_ends": (
        """
        import os, tempfile
        from fairseq_cli.interactive import buffered_read
        path = os.path.join(tempfile.mkdtemp(), "text")
        with open(path, "wb") as file:
            file.write(b"one \\r sentence\\nanother\\n")
        assert list(buffered_read(path, 9)) == [["one \\r sentence", "another"]], "off by one"
        """,
        "off by one",
    ),
    "numpy_percentile": (
        """
        from fairseq.data.data_utils import get_buckets
        assert get_buckets([1, 2, 3, 10], 2).tolist() == [2, 10]
        """,
        "interpolation",
    ),
    "bfloat16": (
        """
        from fairseq import options
        arguments = ["data", "--arch", "transformer", "--bf16"]
        args = options.parse_args_and_arch(options.get_training_parser(), arguments)
        assert args.bf16 and not args.tpu, "asks for a TPU"
        args = options.parse_args_and_arch(options.get_training_parser(), [*arguments, "--tpu"])
        assert args.bf16 and args.tpu
        """,
        "asks for a TPU",
    ),
    "bfloat16_attention": (
        """
        import torch
        from fairseq import options
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf
        from fairseq.trainer import Trainer
        for precision, fused in [([], True), (["--bf16"], False)]:
            arguments = ["data", "--arch", "transformer", "--cpu", *precision]
            args = options.parse_args_and_arch(options.get_training_parser(), arguments)
            args.tpu = False  # see the mend "bfloat16"
            Trainer(convert_namespace_to_omegaconf(args), None, torch.nn.Linear(2, 2), torch.nn.Module())
            assert torch.backends.cuda.flash_sdp_enabled() is fused, "slow backwards"
        """,
        "slow backwards",
    ),
    "user_dir": (
        """
        import argparse, os, sys, tempfile
        folder = os.path.join(tempfile.mkdtemp(), "letters")
        os.mkdir(folder)
        with open(os.path.join(folder, "__init__.py"), "w") as file:
            file.write("import builtins; builtins.times = getattr(builtins, 'times', 0) + 1")
        sys.path.append(os.path.dirname(folder))
        from fairseq.utils import import_user_module
        for _ in range(2):
            import_user_module(argparse.Namespace(user_dir="letters"))
        import_user_module(argparse.Namespace(user_dir=folder + "/"))
        os.chdir(folder)
        import_user_module(argparse.Namespace(user_dir="../letters"))
        import builtins
        assert builtins.times == 1
        """,
        "FileNotFoundError",
    ),
    "hydra_base_layers": (
        """
        from types import SimpleNamespace
        from omegaconf import OmegaConf
        from fairseq.trainer import Trainer
        question = Trainer.should_save_checkpoint_on_current_rank.fget
        trainer = SimpleNamespace(is_fsdp=False, is_data_parallel_master=True)
        trainer.cfg = OmegaConf.create({"model": {"_name": "transformer"}})
        assert question(trainer) is True
        trainer.is_data_parallel_master = False
        trainer.cfg = OmegaConf.create({"model": {"base_layers": 0}})
        assert question(trainer) is False
        trainer.cfg = OmegaConf.create({"model": {"base_layers": 2}})
        assert question(trainer) is True
        """,
        "'>' not supported between instances of 'NoneType' and 'int'",
    ),
    "quiet": (
        """
        import fairseq
        from torch.utils.data import DataLoader
        list(DataLoader([0], pin_memory=True))
        """,
        "pin_memory",
    ),
    "distributed_on_cpu": (
        """
        import tempfile, torch
        import torch.distributed as dist
        from types import SimpleNamespace
        from fairseq.distributed.utils import all_gather_list
        from fairseq.models.distributed_fairseq_model import DistributedFairseqModel
        dist.init_process_group("gloo", init_method="file://" + tempfile.mkdtemp() + "/store",
                                rank=0, world_size=1)
        args = SimpleNamespace(
            tpu=False, ddp_backend="pytorch_ddp", device_id=0, broadcast_buffers=True,
            bucket_cap_mb=25, find_unused_parameters=False, gradient_as_bucket_view=False,
            ddp_comm_hook="none", heartbeat_timeout=-1)
        assert all_gather_list({"loss": 1.5}, dist.group.WORLD) == [{"loss": 1.5}]
        model = DistributedFairseqModel(
            args, torch.nn.Linear(2, 2), dist.group.WORLD, torch.device("cpu"))
        model(torch.randn(3, 2)).sum().backward()
        """,
        "cuda",
    ),
    "fast_path_parameters": (
        """
        import argparse, torch
        from fairseq.models.distributed_fairseq_model import DistributedDataParallel
        from fairseq.models.transformer import TransformerConfig
        from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
        config = TransformerConfig.from_namespace(argparse.Namespace(
            encoder_embed_dim=8, encoder_ffn_embed_dim=8, encoder_attention_heads=2))
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = TransformerEncoderLayerBase(config)
            def forward(self, x):
                return self.layer(x, None)
        model = DistributedDataParallel(module=Model())
        for _ in range(3):
            model(torch.randn(3, 2, 8)).sum().backward()
        assert "module.layer.in_proj_weight" in model.state_dict()
        """,
        "Expected to have finished reduction",
    ),
    "safe_loaders": (
        """
        import os, pickle
        from fairseq.distributed import utils
        class Hostile:
            def __reduce__(self):
                return os.getcwd, ()
        try:
            utils.pickle.loads(pickle.dumps(Hostile()))
        except pickle.UnpicklingError:
            pass
        else:
            raise SystemExit("code has run")
        """,
        "code has run",
    ),
    "safe_archives": (
        """
        import os, tarfile, tempfile
        from fairseq import file_utils
        with tempfile.TemporaryDirectory() as tempfile.tempdir:
            path = os.path.join(tempfile.tempdir, "model.tar.gz")
            with tarfile.open(path, "w:gz") as archive:
                for name in ("model/file", "model/../../escaped"):
                    archive.addfile(tarfile.TarInfo(name))
            try:
                file_utils.load_archive_file(path)
            except (OSError, ValueError):
                pass
            escaped = os.path.exists(os.path.join(tempfile.tempdir, "escaped"))
        tempfile.tempdir = None
        assert not escaped, "written outside its folder"
        """,
        "written outside its folder",
    ),
    "shell_quoting": (
        """
        import types
        from fairseq.data import fasta_dataset
        commands = []
        subprocess, fasta_dataset.subprocess = fasta_dataset.subprocess, types.SimpleNamespace(
            check_output=lambda text, shell: commands.append(text) or b"1")
        fasta_dataset.FastaDataset._build_index(None, "$(command)")
        fasta_dataset.subprocess = subprocess
        assert commands and all(text.startswith("cat '$(command)'.fasta ") for text in commands), "run by the shell"
        """,
        "run by the shell",
    ),
    "checkpoint_configuration": (
        """
        import os, tempfile, torch
        from fairseq import checkpoint_utils
        os.environ["SECRET"] = "secret"
        state = {"args": None, "cfg": {"text": "${env:SECRET}"}, "model": {}, "extra_state": {}}
        with tempfile.NamedTemporaryFile() as file:
            torch.save({**state, "optimizer_history": [{"best_loss": 1}]}, file.name)
            text = checkpoint_utils.load_checkpoint_to_cpu(file.name)["cfg"].text
        assert text == "${env:SECRET}", f"the variable's value is in it: {text}"
        """,
        "value is in it: secret",
    ),
    "checkpoint_files": (
        """
        import os
        from fairseq import checkpoint_utils
        from omegaconf import OmegaConf
        class Task:
            def build_model(self, cfg):
                open(cfg.path).close()
                raise LookupError("a file was read")
        state = {"cfg": OmegaConf.create({"model": {"path": os.devnull}}), "model": {}}
        try:
            checkpoint_utils.load_model_ensemble_and_task([os.__file__], task=Task(), state=state)
        except ValueError as error:
            assert "may name no file to read" in str(error)
        """,
        "a file was read",
    ),
    "model_sizes": (
        """
        import argparse
        from fairseq.data import Dictionary
        from fairseq.models import build_model
        task = argparse.Namespace(source_dictionary=Dictionary(), target_dictionary=Dictionary())
        sizes = dict(encoder_embed_dim=8, encoder_layers=1, encoder_attention_heads=0)
        try:
            build_model(argparse.Namespace(arch="transformer", **sizes), task)
        except ValueError as error:
            assert "--encoder-attention-heads is 0" in str(error)
        """,
        "ZeroDivisionError",
    ),
}

# Runs the scripts one after the other, and prints what each has said on stderr.
RUNNER = """
import contextlib, io, json, os, sys, traceback
results = {}
for name, text in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            exec(compile(text, name, "exec"), {"__name__": name})
        except BaseException:
            traceback.print_exc()
    results[name] = said.getvalue()
print(json.dumps(results), flush=True)
os._exit(0)  # a process group is still open
"""


def run_together(scripts, without=()):
    texts = json.dumps({name: textwrap.dedent(text) for name, (text, _) in scripts.items()})
    done = run_script(RUNNER, texts, without=without)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def broken():
    return run_together(SHARING, without=SHARING)


@pytest.fixture(scope="module")
def mended():
    return run_together({**ALONE, **SHARING})


@pytest.mark.parametrize("mend", SHARING)
def test_defect_is_there_without_the_mend(mend, broken):
    assert SHARING[mend][1].lower() in broken[mend].lower()


@pytest.mark.parametrize("mend", ALONE)
def test_nothing_can_be_imported_without_the_mend(mend):
    if sys.version_info < SINCE.get(mend, (3, 11)):
        pytest.skip(f"a defect of Python >= {'.'.join(map(str, SINCE[mend]))}")
    script, failure = ALONE[mend]
    done = run_script(script, without=[mend])
    assert done.returncode != 0
    assert failure in done.stderr + done.stdout


@pytest.mark.parametrize("mend", [*ALONE, *SHARING])
def test_defect_is_gone_with_the_mend(mend, mended):
    assert mended[mend] == ""


@pytest.mark.parametrize("extra", [{}, {"mend": "pytest_rewriting"}])
def test_pytest_runs_beside_hydra(tmp_path, extra):
    """hydra is a plugin of pytest, and pytest has its own way of importing plugins."""
    test = tmp_path / "test_nothing.py"
    test.write_text("def test_nothing():\n    assert True\n")
    script = f"import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {str(test)!r}]))"
    done = run_script(script, without=[extra["mend"]] if extra else (), cwd=tmp_path)
    if extra:
        assert done.returncode != 0
        assert "mutable default" in done.stderr + done.stdout
    else:
        assert done.returncode == 0, done.stdout + done.stderr

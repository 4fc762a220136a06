"""fairseq-hydra-train with the recipes of ``depth_adaptive_fairseq/config``."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

import depth_adaptive_fairseq
from tests.end_to_end.commands import assert_ok

CONFIG = Path(depth_adaptive_fairseq.__file__).with_name("config")
RECIPES = sorted(path.stem for path in CONFIG.glob("*.yaml"))
SHELL_RECIPE = Path(__file__).parents[2] / "scripts" / "recipes" / "multi30k.de-en" / "train.sh"
BRIEFLY = ("optimization.max_update=2", "dataset.num_workers=0", "common.log_format=json", "common.log_interval=1")
SMALL = dict(encoder_layers=1, decoder_layers=2, decoder_embed_dim=24, decoder_ffn_embed_dim=16)


def hydra_train(run, recipe: str, data: Path, *overrides: str, **model):
    """Run with overrides; options of the model that the recipe does not name have to be added with a plus sign."""
    named = read(recipe)["model"]
    overrides += tuple(f"{'' if name in named else '+'}model.{name}={value}" for name, value in model.items())
    return run("fairseq-hydra-train", "--config-dir", CONFIG, "--config-name", recipe, f"task.data={data}", *overrides)


def read(recipe: str) -> dict:
    return yaml.safe_load((CONFIG / f"{recipe}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_checkpoint_translates(run, decode, data, tmp_path, recipe):
    assert_ok(hydra_train(run, recipe, data, *BRIEFLY, **SMALL))
    log = (tmp_path / "hydra_train.log").read_text(encoding="utf-8")
    assert '"train_nll_2": ' in log and '"train_nll_3": ' not in log
    decoded = decode(tmp_path / "checkpoints" / "checkpoint_last.pt", task__exit_policy="confidence")
    assert len(decoded.hypotheses()) == 16
    assert "of 2 |" in decoded.output


def test_a_preset_brings_its_sizes(run, data, tmp_path):
    """All but those that are overridden."""
    assert_ok(
        hydra_train(
            run, "phrases_de_en", data, "checkpoint.no_save=true", "dataset.disable_validation=true", *BRIEFLY,
            _name="depth_adaptive_transformer_iwslt_de_en", encoder_layers=1, decoder_layers=1,
        )
    )  # fmt: skip
    log = (tmp_path / "hydra_train.log").read_text(encoding="utf-8")
    assert "(embed_tokens): Embedding(88, 512, padding_idx=1)" in log
    assert "(fc1): Linear(in_features=256, out_features=1024, bias=True)" in log
    assert "(projection): Linear(in_features=256, out_features=88, bias=False)" in log


def test_an_error_of_the_users_is_one_sentence(run, data, tmp_path):
    done = hydra_train(run, "phrases_de_en", data, share_all_embeddings="true")
    assert done.status == 1
    assert "Traceback" not in done.output
    assert "--share-exit-classifiers" in done.stderr.rstrip().splitlines()[-1]
    assert not list(tmp_path.rglob("*.pt"))


def test_the_recipe_is_that_of_the_shell_script(tmp_path):
    """Every entry of the YAML file is what fairseq-train makes of the script's options."""
    command = tmp_path / "fairseq-train"
    command.write_text(f"#!/bin/sh\nfor each; do printf '%s\\0' \"$each\"; done > '{tmp_path}/arguments'\n")
    command.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", SHELL_RECIPE, "DATA", "checkpoints", "adaptive"], env=environment, check=True)
    arguments = (tmp_path / "arguments").read_text().split("\0")[:-1]
    expected = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))
    expected.task.data = "???"

    recipe = read("multi30k_de_en")
    del recipe["hydra"]
    different = {
        f"{group}.{name}": (value, expected[group][name])
        for group, entries in recipe.items()
        for name, value in entries.items()
        if not (group == "task" and name == "data") and json.dumps(value) != json.dumps(_plain(expected[group][name]))
    }
    assert different == {}
    given = {each.partition("=")[0][2:].replace("-", "_") for each in arguments if each.startswith("--")}
    named = {name for entries in recipe.values() for name in entries} | {"arch", "task", "criterion", "optimizer", "lr_scheduler"}
    assert given - named - {"save_dir"} == set()


def _plain(value):
    return list(value) if type(value).__name__ == "ListConfig" else value

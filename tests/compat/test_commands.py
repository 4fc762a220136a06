"""The stock commands work, and stay quiet about what the user can do nothing about."""

from tests.compat.processes import TINY, run


def assert_quiet(process):
    assert process.returncode == 0, process.stderr[-3000:]
    for noise in ("Warning", "Traceback", "tensorboardX"):
        assert noise not in process.stderr + process.stdout


def test_training(training):
    done, folder = training
    assert_quiet(done)
    assert {"checkpoint1.pt", "checkpoint_best.pt", "checkpoint_last.pt"} == {
        path.name for path in folder.iterdir()
    }


def test_generating(data, checkpoint, tmp_path):
    done = run("fairseq-generate", data, "--path", checkpoint, "--batch-size", "4", cwd=tmp_path, fresh=True)
    assert_quiet(done)
    assert done.stdout.count("\nH-") + done.stdout.startswith("H-") == 10
    assert "BLEU4" in done.stdout


def test_training_in_bfloat16(data, tmp_path):
    done = run(
        "fairseq-train", data, "--task", "translation", *TINY, "--bf16", "--save-dir", tmp_path
    )
    assert_quiet(done)
    assert (tmp_path / "checkpoint_last.pt").exists()


def test_hydra_training_by_names_of_models_and_tasks(data, tmp_path):
    (tmp_path / "tiny.yaml").write_text(f"""
common: {{user_dir: depth_adaptive_fairseq}}
task: {{_name: translation, data: {data}, source_lang: de, target_lang: en}}
criterion: {{_name: cross_entropy}}
dataset: {{max_tokens: 500, num_workers: 0}}
optimization: {{max_update: 1, lr: [0.005]}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
checkpoint: {{save_dir: {tmp_path}/checkpoints}}
model:
  _name: transformer
  encoder: {{layers: 1, embed_dim: 16, ffn_embed_dim: 16, attention_heads: 2}}
  decoder: {{layers: 1, embed_dim: 16, ffn_embed_dim: 16, attention_heads: 2}}
""")
    done = run(
        "fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "tiny",
        f"hydra.run.dir={tmp_path}/outputs", cwd=tmp_path,
    )
    assert_quiet(done)
    assert (tmp_path / "checkpoints" / "checkpoint_last.pt").exists()

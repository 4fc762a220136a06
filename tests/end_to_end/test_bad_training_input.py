"""What a user can get wrong when training: one sentence, a non-zero exit status, no folder left behind."""

import pytest

from depth_adaptive_fairseq.errors import DepthAdaptiveError
from tests.end_to_end.commands import PLUGIN, assert_refused
from tests.end_to_end.training import ADAPTIVE, CRITERION, OPTIMIZATION, SIZES


def test_tied_embeddings_with_separate_classifiers(run, data, tmp_path):
    done = run("fairseq-train", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 1, "--share-all-embeddings")
    assert_refused(done, "--share-all-embeddings", "--share-exit-classifiers")
    assert not list(tmp_path.rglob("*.pt"))


def test_the_criterion_with_a_stock_transformer(run, data, tmp_path):
    model = ("--task", "translation", "--arch", "transformer")
    done = run("fairseq-train", data, *PLUGIN, *model, *CRITERION, *SIZES, *OPTIMIZATION, "--max-update", 1)
    assert_refused(done, "--criterion depth_adaptive_cross_entropy", "TransformerModel", "--arch depth_adaptive_transformer")
    assert not list(tmp_path.rglob("*.pt"))


def test_a_checkpoint_of_other_sizes(run, data, trained, tmp_path):
    done = run(
        "fairseq-train", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 1, "--decoder-embed-dim", 16,
        "--finetune-from-model", trained.checkpoint,
    )  # fmt: skip
    assert_refused(done, trained.checkpoint)
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    "entries, parts",
    [
        (dict(model__decoder_layerdrop=0.2), ["--decoder-layerdrop 0.2", "only 0 is allowed"]),
        (dict(model__decoder_layers_to_keep="0,2"), ["--decoder-layers-to-keep", "--exit-policy fixed"]),
        (dict(model__adaptive_softmax_cutoff=[10, 20]), ["--adaptive-softmax-cutoff", "leave the option out"]),
        (dict(model__share_decoder_input_output_embed=True), ["--share-decoder-input-output-embed", "--share-exit-classifiers"]),
        (dict(model__decoder_layers=0), ["--decoder-layers 0", "at least 1"]),
        (dict(criterion__label_smoothing=1.5), ["--label-smoothing 1.5", "from 0 to below 1"]),
        (dict(criterion__ignore_prefix_size=-1), ["--ignore-prefix-size -1", "0 or more"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_that_do_not_go_with_exits(train_briefly, entries, parts):
    with pytest.raises(DepthAdaptiveError) as raised:
        train_briefly(**entries)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize(
    "options, parts",
    [
        (("--optimizer", "sgd"), ["FairseqAdam", "SGD", "--reset-optimizer"]),
        (("--lr-scheduler", "reduce_lr_on_plateau"), ["--reset-lr-scheduler"]),
    ],
)
def test_going_on_with_another_optimizer_or_scheduler(run, data, trained, tmp_path, options, parts):
    command = ("fairseq-train", data, *ADAPTIVE, *SIZES, *OPTIMIZATION, "--max-update", 51, "--restore-file", trained.checkpoint)
    assert_refused(run(*command, *options), trained.checkpoint, *parts)
    assert not list(tmp_path.rglob("*.pt"))

"""One exit as a stock transformer: parameters, options, refusals. The commands are in ``end_to_end/test_exported_checkpoint``."""

import copy

import pytest
import torch
from fairseq import checkpoint_utils, models
from fairseq.models.transformer import TransformerModel
from omegaconf import OmegaConf

from depth_adaptive_fairseq.commands.checkpoint_files.fixed_depth import to_fixed_depth
from depth_adaptive_fairseq.commands.checkpoint_files.writing import write_checkpoint
from tests.compat import processes
from tests.small_models import random_sample, small_config, small_dictionary, small_model, small_task

DICTIONARY = small_dictionary()
EXITS = 3
SHARED = dict(share_exit_classifiers=True)
OPTIONS = [
    {},
    dict(decoder_normalize_before=True, encoder_normalize_before=True),
    dict(decoder_normalize_before=True, no_decoder_final_norm=True),
    dict(decoder_normalize_before=True, **SHARED),
    dict(share_decoder_input_output_embed=True, **SHARED),
    dict(share_all_embeddings=True, decoder_normalize_before=True, **SHARED),
    dict(decoder_output_dim=10),
    dict(decoder_output_dim=10, **SHARED),
    dict(decoder_learned_pos=True, encoder_learned_pos=True, max_target_positions=40, max_source_positions=30),
    dict(no_token_positional_embeddings=True, no_scale_embedding=True),
    dict(layernorm_embedding=True),
    dict(encoder_embed_dim=24, activation_fn="gelu"),
    dict(cross_self_attention=True, no_cross_attention=True),
    dict(halting="geometric", halting_per_block=True, gradient_scaling=0.5),
]


def checkpoint_of(model, task="depth_adaptive_translation", **options) -> dict:
    """What fairseq would load of a training of *model*."""
    configuration = {
        "model": {"_name": "depth_adaptive_transformer_tiny", **vars(small_config(**options))},
        "task": {"_name": task, "data": "data", "source_lang": "de", "exit_policy": "uniform", "eval_bleu": True},
        "criterion": {"_name": "depth_adaptive_cross_entropy", "label_smoothing": 0.2, "exit_weights": "uniform"},
    }
    return {
        "cfg": OmegaConf.create(configuration),
        "model": model.state_dict(),
        "optimizer_history": [{"num_updates": 7}],
        "last_optimizer_state": {"x": 1},
        "extra_state": {"train_iterator": {"epoch": 2}},
    }


def random_model(**options):
    """A model whose norms and biases differ from each other, as after training."""
    model = small_model(DICTIONARY, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def stock_model(exported: dict):
    """The model as any program builds it that knows of fairseq's transformer only; unknown or missing parameters fail."""
    model = models.build_model(copy.deepcopy(exported["args"]), small_task(DICTIONARY))
    model.load_state_dict(exported["model"], strict=True)
    return model.eval()


@pytest.mark.parametrize("exit_at", [1, 2, EXITS])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_stock_models_logits_are_the_exits(options, exit_at):
    model = random_model(**options)
    stock = stock_model(to_fixed_depth(checkpoint_of(model, **options), exit_at))
    assert type(stock) is TransformerModel and len(stock.decoder.layers) == exit_at
    sample = random_sample(DICTIONARY, [(3, 4), (5, 2), (6, 6)])["net_input"]
    with torch.no_grad():
        states = model(**sample, features_only=True)[1]["inner_states"]
        expected = model.decoder.exit_classifier(exit_at)(states[exit_at].transpose(0, 1))
        torch.testing.assert_close(stock(**sample)[0], expected, rtol=1e-5, atol=1e-5)


def test_nothing_of_the_plugin_is_left():
    state = checkpoint_of(random_model(halting="multinomial"), halting="multinomial")
    before = OmegaConf.to_container(state["cfg"]), set(state["model"])
    exported = to_fixed_depth(state, 2)
    arguments = vars(exported["args"])
    assert (arguments["arch"], arguments["task"]) == ("transformer", "translation")
    assert arguments["criterion"] == "label_smoothed_cross_entropy" and arguments["label_smoothing"] == 0.2
    assert (arguments["data"], arguments["source_lang"]) == ("data", "de")
    assert not [name for name in arguments if name.startswith(("exit_", "halting", "share_exit", "gradient_", "eval_", "_"))]
    assert not [name for name in exported["model"] if "exit" in name or "halting" in name or "layers.2." in name[7:]]
    assert exported["last_optimizer_state"] is None and exported["optimizer_history"][-1]["num_updates"] == 7
    assert (OmegaConf.to_container(state["cfg"]), set(state["model"])) == before


def test_embedding_files_are_not_asked_for_again():
    model = random_model()
    state = checkpoint_of(model)
    state["cfg"].model.decoder_embed_path = "gone.txt"
    stock_model(to_fixed_depth(state, 1))


def test_the_safe_loader_takes_it(tmp_path):
    write_checkpoint(to_fixed_depth(checkpoint_of(random_model()), 1), tmp_path / "exit1.pt")
    loaded = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "exit1.pt"))
    assert loaded["cfg"].model.decoder_layers == 1 and loaded["cfg"].task._name == "translation"


ALIKE = dict(decoder_normalize_before=True, encoder_normalize_before=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        ALIKE,
        dict(share_all_embeddings=True, **SHARED, **ALIKE),
        dict(decoder_learned_pos=True, encoder_learned_pos=True, layernorm_embedding=True, activation_fn="gelu"),
        dict(encoder_embed_dim=24, no_scale_embedding=True),
    ],
    ids=str,
)
def test_ctranslate2_scores_as_the_exit_does(tmp_path, options):
    ctranslate2 = pytest.importorskip("ctranslate2")
    model = random_model(**options)
    write_checkpoint(to_fixed_depth(checkpoint_of(model, **options), 2), tmp_path / "exit2.pt")
    for language in ("de", "en"):
        DICTIONARY.save(str(tmp_path / f"dict.{language}.txt"))
    converter = ctranslate2.converters.FairseqConverter(
        str(tmp_path / "exit2.pt"), str(tmp_path), source_lang="de", target_lang="en"
    )
    converter.convert(str(tmp_path / "converted"))
    translator = ctranslate2.Translator(str(tmp_path / "converted"), device="cpu", compute_type="float32")

    sample = random_sample(DICTIONARY, [(5, 6)])
    source, target = sample["net_input"]["src_tokens"][0], sample["target"][0]
    words = [[DICTIONARY[token] for token in sentence[:-1]] for sentence in (source, target)]
    scored = translator.score_batch([words[0]], [words[1]])[0].log_probs
    with torch.no_grad():
        states = model(**sample["net_input"], features_only=True)[1]["inner_states"]
        predicted = model.decoder.exit_classifier(2)(states[2].transpose(0, 1)).log_softmax(dim=-1)[0]
    expected = predicted.gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(scored), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exit_at", [0, EXITS + 1, -1])
def test_an_exit_that_is_not_there(exit_at):
    with pytest.raises(ValueError, match=f"--exit-at {exit_at} was given.* 1 to 3"):
        to_fixed_depth(checkpoint_of(random_model()), exit_at)


def test_a_stock_model_is_refused():
    exported = to_fixed_depth(checkpoint_of(random_model()), 1)
    # As fairseq holds the options of a checkpoint of its own transformer.
    state = {**exported, "cfg": OmegaConf.create({"model": vars(exported["args"]), "task": {"_name": "translation"}})}
    with pytest.raises(ValueError, match="transformer, which has no exits"):
        to_fixed_depth(state, 1)


def test_a_task_with_sentences_of_its_own_is_refused():
    with pytest.raises(ValueError, match="--task translation_multi_simple_epoch"):
        to_fixed_depth(checkpoint_of(random_model(), task="translation_multi_simple_epoch"), 1)


def test_a_failure_leaves_the_older_file(tmp_path):
    path = tmp_path / "exit1.pt"
    path.write_text("older")
    (tmp_path / "exit1.pt.partial").symlink_to("/dev/full")
    with pytest.raises(ValueError, match="cannot write .*exit1.pt: No space left"):
        write_checkpoint({"model": torch.zeros(1000)}, path)
    with pytest.raises(ValueError, match="No such file"):
        write_checkpoint({}, tmp_path / "nowhere" / "exit1.pt")
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def run(*arguments):
    return processes.run("depth-adaptive", "export", *arguments)


def test_the_command_refuses_with_a_sentence(tmp_path):
    (tmp_path / "text.pt").write_text("text")
    for checkpoint, out, hint in (
        ("missing.pt", "out.pt", "missing.pt is not a file"),
        ("text.pt", "text.pt", "is the checkpoint itself"),
        ("text.pt", "out.pt", "not a fairseq checkpoint"),
    ):
        done = run(tmp_path / checkpoint, "--exit-at", 1, "--out", tmp_path / out)
        assert done.returncode == 1 and hint in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["text.pt"]


def test_help():
    done = run("--help")
    assert done.returncode == 0 and "--exit-at" in done.stdout

"""A checkpoint names no file to read: what it names is left alone, and what the caller names is read."""

import argparse
import builtins
import io
import re

import pytest
import torch
from fairseq import checkpoint_utils, file_utils
from fairseq.data.encoders import build_bpe
from fairseq.models import ARCH_MODEL_INV_REGISTRY, MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from fairseq.models.transformer import TransformerModel

from depth_adaptive_fairseq.compat import checkpoint_files
from tests.compat.altered import altered, options_of_model
from tests.compat.hostile import Hostile
from tests.compat.processes import TINY, assert_one_sentence, run


@pytest.fixture
def second(marker, tmp_path):
    """A hostile file that a checkpoint may name."""
    path = tmp_path / "SECOND.pt"
    torch.save({"model": Hostile(marker), "best_loss": 1}, path)
    return path


@pytest.fixture
def evil(checkpoint, tmp_path):
    """A working checkpoint with other options of its model."""

    def evil(**options):
        def change(state):
            model = options_of_model(state)
            if "_name" in options:  # as fairseq saves it: a dictionary for the models that declare their options
                declared = options["_name"] in MODEL_DATACLASS_REGISTRY
                state["cfg"]["model"] = dict(options) if declared else argparse.Namespace(**options)
            else:
                model.update(options)

        return altered(checkpoint, tmp_path / "evil.pt", change)

    return evil


def load(path, data, **overrides):
    return checkpoint_utils.load_model_ensemble_and_task([str(path)], {"data": str(data), **overrides})


def names_of_files(model):
    """The options of a model of fairseq's whose names say that they are files, of any form."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    model.add_args(parser)
    given = {action.dest for action in parser._actions if action.nargs != 0}
    named = {name for name in given if re.search("path|from$|pretrained|checkpoint|file|model$|dict$|codes", name)}
    return named - {"encoder_embed_path", "decoder_embed_path"}  # see below


# Where a name says nothing.
OTHERS = {"fconv_self_att": {"pretrained": "True"}, "wav2vec_ctc": {"w2v_args": None}, "wav2vec_seq2seq": {"w2v_args": None, "autoregressive": True}}


def test_no_architecture_makes_a_checkpoint_load_a_second_file(evil, second, data):
    """Whatever the model and its options are called: nothing of the file's runs, and a sentence says what is wrong."""
    refused = set()
    for name, model in MODEL_REGISTRY.items():
        options = {**dict.fromkeys(names_of_files(model), str(second)), **OTHERS.get(name, {})}
        if name not in ARCH_MODEL_INV_REGISTRY or not options:
            continue  # nothing that a configuration can name, or without files
        try:
            load(evil(_name=ARCH_MODEL_INV_REGISTRY[name][0], **options), data)
        except Exception as error:
            assert getattr(error, "is_user_error", False), (name, repr(error))
            assert "\n" not in str(error), (name, error)
            if "may name no file to read" in str(error):
                refused.add(name)
    assert refused >= {"fconv_self_att", "hubert_ctc", "wav2vec_ctc", "wav2vec_seq2seq", "xm_transformer"}


@pytest.mark.parametrize(
    "read",
    [
        lambda path: open(path, "rb"),
        lambda path: io.open(path),
        lambda path: path.read_text(),
        lambda path: checkpoint_utils.load_checkpoint_to_cpu(str(path)),
        lambda path: checkpoint_utils.load_model_ensemble_and_task([str(path)]),
        lambda path: file_utils.cached_path(str(path)),
        lambda path: torch.load(path),
    ],
)
@pytest.mark.parametrize("kind", [dict, argparse.Namespace])
def test_what_a_checkpoint_names_is_not_opened_while_its_model_is_built(read, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "named"
    path.write_text("text")
    for text in (str(path), "named", "./x/../named"):
        loading = checkpoint_files.Loading(["evil.pt"], {"data": "other"})
        loading.add("evil.pt", {"model": {}, "cfg": {"model": kind(**{"some_option": [text]})}})
        with checkpoint_files._set(checkpoint_files._loading, loading), checkpoint_files._guarded_open():
            with pytest.raises(ValueError, match=f"evil.pt names the file {text} .as model.some_option.*--model-overrides"):
                read(path)
            open(__file__).close()
    open(path).close()
    assert builtins.open is io.open and builtins.open is not checkpoint_files._open_if_allowed


def test_what_the_caller_names_is_opened(tmp_path):
    path, folder = tmp_path / "named", tmp_path / "folder"
    path.write_text("text")
    folder.mkdir()
    (folder / "dict").write_text("text")
    for given in ({"w2v_path": str(path), "data": str(folder)}, {"model": {"w2v_path": path}, "data": str(folder)}):
        loading = checkpoint_files.Loading(["c.pt"], given)
        loading.add("c.pt", {"model": {}, "cfg": {"model": {"w2v_path": str(path), "dict": str(folder / "dict")}}})
        loading.check(str(path))
        loading.check(str(folder / "dict"))


def test_embeddings_that_a_training_began_with_are_not_read_again(checkpoint, evil, data, tmp_path):
    path = evil(encoder_embed_path=str(tmp_path / "gone"), decoder_embed_path=__file__)
    models, cfg, _ = load(path, data)
    assert cfg.model.encoder_embed_path is None and cfg.model.decoder_embed_path is None
    weights = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint))["model"]
    for side in ("encoder", "decoder"):
        assert torch.equal(getattr(models[0], side).embed_tokens.weight, weights[f"{side}.embed_tokens.weight"])
    with pytest.raises(FileNotFoundError, match="gone2"):  # what the caller names is
        load(path, data, encoder_embed_path=str(tmp_path / "gone2"))


def test_a_new_model_begins_with_the_embeddings_that_are_named(checkpoint, data, tmp_path):
    _, cfg, task = load(checkpoint, data)
    words = [line.split()[0] for line in (data / "dict.de.txt").read_text().splitlines()]
    (tmp_path / "vectors").write_text(f"{len(words)} 16\n" + "".join(f"{word} {' '.join(['0.25'] * 16)}\n" for word in words))
    cfg.model.encoder_embed_path = str(tmp_path / "vectors")
    assert task.build_model(cfg.model).encoder.embed_tokens.weight[task.source_dictionary.index(words[0])].eq(0.25).all()


def test_a_criterion_writes_no_file_that_a_checkpoint_names(checkpoint, data, tmp_path):
    def change(state):
        state["cfg"]["criterion"] = {"_name": "sentence_ranking", "save_predictions": str(tmp_path / "written")}

    path = altered(checkpoint, tmp_path / "evil.pt", change)
    _, cfg, _ = load(path, data)
    assert cfg.criterion.save_predictions is None


@pytest.mark.parametrize(
    "change, name",
    [
        ({"bpe": {"_name": "sentencepiece", "sentencepiece_model": "X"}}, "sentencepiece_model"),
        ({"bpe": {"_name": "gpt2", "gpt2_encoder_json": "http://localhost/x"}}, "gpt2_encoder_json"),
        ({"bpe": argparse.Namespace(bpe="fastbpe", bpe_codes="X")}, "bpe_codes"),
        ({"generation": {"replace_unk": "X"}}, "replace_unk"),
    ],
)
def test_the_hub_interface_reads_no_file_that_a_checkpoint_names(change, name, checkpoint, data, tmp_path):
    altered(checkpoint, tmp_path / "evil.pt", lambda state: state["cfg"].update(change))
    with pytest.raises(ValueError, match=rf"evil.pt names the file .*from_pretrained\(..., {name}=") as info:
        TransformerModel.from_pretrained(str(tmp_path), "evil.pt", str(data))
    assert info.value.is_user_error


def test_the_hub_interface_reads_what_the_caller_names(checkpoint, data, tmp_path, monkeypatch):
    altered(checkpoint, tmp_path / "model.pt", lambda state: None)
    read = []
    monkeypatch.setattr("fairseq.hub_utils.encoders.build_bpe", lambda cfg: read.append(cfg) or None)
    for options in ({"sentencepiece_model": "mine"}, {}):
        if not options:  # as in the archives that fairseq published
            (tmp_path / "sentencepiece.bpe.model").write_text("")
        TransformerModel.from_pretrained(str(tmp_path), "model.pt", str(data), bpe="sentencepiece", **options)
    assert [each.sentencepiece_model for each in read] == ["mine", str(tmp_path / "sentencepiece.bpe.model")]
    assert build_bpe(None) is None


def test_hostile_files_by_every_command(evil, second, checkpoint, data, tmp_path):
    generated = run("fairseq-generate", data, "--path", evil(_name="xm_transformer", load_pretrained_decoder_from=str(second), w2v_path=str(second)))
    assert_one_sentence(generated, "fairseq-generate", "evil.pt", "SECOND.pt", "--model-overrides")
    trained = run("fairseq-train", data, "--task", "translation", *TINY, "--save-dir", tmp_path / "new", "--finetune-from-model", second)
    assert_one_sentence(trained, "fairseq-train", "refused", "SECOND.pt", "mkdir")

"""Damaged profilers: whole models, adapters and tokenizers are refused in words, and none loads with random weights."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from reclm_hf.bundles import load_causal_lm
from reclm_hf.hub.manifest import file_entries
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiler.processing_reclm_profiler import RecLMProfilerProcessor, load_tokenizer
from reclm_hf.tuning.models import with_score_head
from reclm_hf.tuning.rewards.configuration import RewardModelConfig
from reclm_hf.tuning.rewards.model import RewardModel
from tests.profiler.models import BASE, base_model, logits, profiler, save_base, tokenizer

Change = Callable[[Path], Any]
WEIGHTS = {"merged": "model.safetensors", "adapter": "adapter_model.safetensors"}
LAYERS = {
    "merged": "model.layers.0.mlp.down_proj.weight",
    "adapter": "base_model.model.model.layers.0.self_attn.q_proj",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model and, on it, a profiler in each layout."""
    root = tmp_path_factory.mktemp("origin")
    made = profiler(str(save_base(root / "base")))
    made.save_pretrained(root / "adapter")
    made.save_pretrained(root / "merged", merge=True)
    return root


def load(folder: Path, **options: Any) -> RecLMProfiler:
    return RecLMProfiler.from_pretrained(folder, dtype="float32", device="cpu", **options)


def in_weights(change: Callable[[dict[str, torch.Tensor], str], Any]) -> Change:
    """Change the tensors of a folder; `change` gets the name of one of them too."""

    def apply(folder: Path) -> None:
        path = next(folder / name for name in WEIGHTS.values() if (folder / name).is_file())
        tensors = load_file(path)
        kind = next(kind for kind, name in WEIGHTS.items() if name == path.name)
        change(tensors, min(name for name in tensors if name.startswith(LAYERS[kind])))
        save_file(tensors, path, metadata={"format": "pt"})

    return apply


def drop(tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[name]


def widen(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = torch.zeros(3, 3)


def whole_numbers(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name].long()


def cut(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-50])

    return apply


def stated(change: Change) -> Change:
    """With a manifest that states the files as they were before."""

    def apply(folder: Path) -> None:
        names = [path.name for path in folder.iterdir()]
        (folder / "manifest.json").write_text(json.dumps({"files": file_entries(folder, names)}))
        change(folder)

    return apply


CASES: dict[str, tuple[str, Change, str]] = {
    "merged, cut": ("merged", cut("model.safetensors"), r"merged/model\.safetensors is not readable"),
    "merged, missing": ("merged", in_weights(drop), r"merged: the weights lack model\.layers\.0\.mlp\.down_proj"),
    "merged, shape": ("merged", in_weights(widen), r"merged: the shapes of the weights do not fit config\.json"),
    "merged, integers": ("merged", in_weights(whole_numbers), r"model\.safetensors: model\.layers\.0\..* holds I64"),
    "merged, hash": ("merged", stated(in_weights(drop)), r"merged/model\.safetensors differs from what manifest\.json"),
    "merged, tokenizer": ("merged", cut("tokenizer.json"), r"merged/tokenizer\.json: no tokenizer can be read"),
    "merged, settings": ("merged", cut("tokenizer_config.json"), r"merged/tokenizer_config\.json: no tokenizer"),
    "merged, generation": ("merged", cut("generation_config.json"), r"merged/generation_config\.json is not JSON"),
    "merged, adapter": (
        "merged",
        lambda folder: shutil.copyfile(
            folder.parent / "adapter" / "adapter_config.json", folder / "adapter_config.json"
        ),
        r"merged is to hold a whole model, and holds adapter_config\.json too",
    ),
    "adapter, cut": ("adapter", cut("adapter_model.safetensors"), r"adapter_model\.safetensors is not readable"),
    "adapter, missing": ("adapter", in_weights(drop), r"1 tensors are missing, 0 have no place.*layers\.0"),
    "adapter, shape": ("adapter", in_weights(widen), r"does not fit the base model .*size mismatch"),
    "adapter, integers": ("adapter", in_weights(whole_numbers), r"adapter_model\.safetensors: .* holds I64"),
    "adapter, hash": ("adapter", stated(in_weights(drop)), r"adapter_model\.safetensors differs from what manifest"),
    "adapter, tokenizer": ("adapter", cut("tokenizer.json"), r"adapter/tokenizer\.json: no tokenizer can be read"),
    "adapter, rank": (
        "adapter",
        lambda folder: (folder / "adapter_config.json").write_text(
            (folder / "adapter_config.json").read_text().replace('"r": 4', '"r": "four"')
        ),
        "adapter",
    ),
    "base, cut": ("base", cut("model.safetensors"), r"base/model\.safetensors is not readable"),
    "base, missing": ("base", in_weights(drop), r"base: the weights lack model\.layers\.0\.mlp\.down_proj"),
    "base, tokenizer": ("base", cut("tokenizer.json"), r"base/tokenizer\.json: no tokenizer can be read"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_profiler_is_refused(origin: Path, tmp_path: Path, case: str) -> None:
    where, change, message = CASES[case]
    place = Path(shutil.copytree(origin, tmp_path / "copy"))
    change(place / where)
    options = {"base_model": str(place / "base")} if where == "base" else {}
    with pytest.raises(ValueError, match=message) as caught:
        load(place / ("adapter" if where == "base" else where), **options)
    assert len(str(caught.value)) < 1000


def test_the_same_profilers_unbroken_load(origin: Path) -> None:
    for layout in WEIGHTS:
        assert bool((logits(load(origin / layout).model) - logits(profiler().model)).abs().max() <= 1e-4)


@pytest.mark.parametrize("read", [load_tokenizer, RecLMProfilerProcessor.from_pretrained, load_causal_lm])
def test_a_broken_tokenizer_is_named_by_whoever_reads_it(
    origin: Path, tmp_path: Path, read: Callable[[str], Any]
) -> None:
    place = Path(shutil.copytree(origin / "merged", tmp_path / "merged"))
    cut("tokenizer.json")(place)
    with pytest.raises(ValueError, match=r"merged/tokenizer\.json: no tokenizer can be read"):
        read(str(place))


@pytest.mark.parametrize("read", [load_tokenizer, load_causal_lm])
def test_code_of_a_tokenizer_is_not_run(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any]
) -> None:
    place = Path(shutil.copytree(origin / "base", tmp_path / "base"))
    settings = json.loads((place / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    (place / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask, were it not told
    with contextlib.suppress(ValueError):  # refused, or read as a stock tokenizer
        read(str(place))
    assert not (tmp_path / "ran").exists()


def test_a_tied_head_is_not_missing(tmp_path: Path) -> None:
    """Most small chat models store one matrix for embeddings and head."""
    model = base_model()
    settings = type(model.config)(**{**model.config.to_dict(), "tie_word_embeddings": True})
    torch.manual_seed(3)
    tied = type(model)(settings).eval()
    tied.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded, _, _ = load_causal_lm(str(tmp_path), dtype="float32")
    assert torch.equal(logits(loaded), logits(tied))
    in_weights(lambda tensors, _: tensors.pop("model.embed_tokens.weight"))(tmp_path)
    with pytest.raises(ValueError, match=r"the weights lack .*model\.embed_tokens\.weight"):
        load_causal_lm(str(tmp_path), dtype="float32")


def test_a_folder_with_an_adapter_is_no_chat_model(origin: Path) -> None:
    """transformers would load the base model that the adapter names, from wherever that is."""
    with pytest.raises(ValueError, match=r"adapter holds adapter_config\.json: .*merge it first"):
        load_causal_lm(str(origin / "adapter"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_weights(drop), r"the weights lack model\.layers\.0\.mlp\.down_proj"),
        (in_weights(widen), r"the shapes of the weights do not fit config\.json"),
        (cut("model.safetensors"), r"model\.safetensors is not readable"),
        (cut("tokenizer.json"), r"tokenizer\.json: no tokenizer can be read"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), r"holds adapter_config\.json too"),
    ],
)
def test_a_broken_reward_model_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    config = RewardModelConfig(BASE, layout="merged", accuracy=0.9, pairs=10)
    RewardModel(with_score_head(base_model(), 0), tokenizer(), config).save_pretrained(tmp_path)
    assert RewardModel.from_pretrained(tmp_path).config.layout == "merged"
    change(tmp_path)
    with pytest.raises(ValueError, match=message):
        RewardModel.from_pretrained(tmp_path)


@settings(
    max_examples=30,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(origin: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Whatever happens to one file, the answer is an error of the documented kinds, or a whole profiler."""
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(origin / data.draw(st.sampled_from(sorted(WEIGHTS))), folder)
    path = folder / data.draw(st.sampled_from(sorted(entry.name for entry in folder.iterdir())))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, min(3000, len(content)) - 1))] = data.draw(st.integers(32, 126))
    path.write_bytes(content)
    try:
        found = load(folder)
    except (ValueError, OSError):
        return
    assert tuple(logits(found.model).shape[:2]) == (2, 12)

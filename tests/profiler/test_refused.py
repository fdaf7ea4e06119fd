"""What is not a whole, plain, fitting profiler is refused in words that say what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reclm_hf.profiler.configuration_reclm_profiler import PROFILER_CONFIG, RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiler.processing_reclm_profiler import RecLMProfilerProcessor
from tests.profiler.models import adapted, base_model, logits, profiler, save_base, tokenizer


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("origin")
    profiler(str(save_base(root / "base"))).save_pretrained(root / "adapter")
    return root


@pytest.fixture
def saved(origin: Path, tmp_path: Path) -> Path:
    """A copy of a saved adapter, to be damaged."""
    return Path(shutil.copytree(origin / "adapter", tmp_path / "adapter"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path, kind: type[Exception], words: str, **options: Any) -> None:
    with pytest.raises(kind, match=words):
        RecLMProfiler.from_pretrained(folder, dtype="float32", **options)


def test_an_unknown_layout(saved: Path) -> None:
    change(saved / PROFILER_CONFIG, layout="delta")
    refused(saved, ValueError, r"profiler_config.json: layout='delta' is not known; choose one of adapter, merged")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_missing_file_of_the_adapter(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(saved, FileNotFoundError, rf"adapter/{name} is missing")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_of_a_whole_model(tmp_path: Path, name: str) -> None:
    profiler().save_pretrained(tmp_path, merge=True)
    (tmp_path / name).unlink()
    refused(tmp_path, FileNotFoundError, rf"{name} is missing")


def test_a_folder_with_nothing_in_it(tmp_path: Path) -> None:
    refused(tmp_path, FileNotFoundError, "is no profiler: it has neither profiler_config.json nor")


def test_an_adapter_in_a_pickle(saved: Path) -> None:
    # Written by hand: nothing of ours writes such a file.
    torch.save(load_file(saved / "adapter_model.safetensors"), saved / "adapter_model.bin")
    (saved / "adapter_model.safetensors").unlink()
    refused(saved, ValueError, r"weights as adapter_model.bin: pickles can run code and are not read")


def test_a_base_model_in_a_pickle(saved: Path, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    torch.save(base_model().state_dict(), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    refused(base, ValueError, r"pytorch_model.bin: pickles can run code")
    refused(saved, ValueError, r"pytorch_model.bin: pickles can run code", base_model=str(base))


def test_a_pickle_beside_safetensors_is_not_read(saved: Path) -> None:
    (saved / "adapter_model.bin").write_bytes(b"not a pickle at all")
    loaded = RecLMProfiler.from_pretrained(saved, dtype="float32", device="cpu")
    assert torch.equal(logits(loaded.model), logits(adapted()))


def test_a_damaged_adapter(saved: Path) -> None:
    content = (saved / "adapter_model.safetensors").read_bytes()
    (saved / "adapter_model.safetensors").write_bytes(content[: len(content) // 2])
    refused(saved, ValueError, r"adapter_model.safetensors is not readable")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra_rows": 8}, r"has 520 embeddings, the profiler was made on one with 512: it is another model"),
        ({"hidden": 64}, "does not fit the base model .*size mismatch"),
    ],
)
def test_another_base_model(saved: Path, tmp_path: Path, options: dict[str, int], words: str) -> None:
    base = save_base(tmp_path / "other", **options)
    refused(saved, ValueError, words, base_model=str(base))


def test_an_adapter_with_a_tensor_too_few(saved: Path) -> None:
    tensors = load_file(saved / "adapter_model.safetensors")
    lost = sorted(tensors)[-1]
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, saved / "adapter_model.safetensors")
    refused(saved, ValueError, r"does not fit the base model .*1 tensors are missing, 0 have no place")


def test_an_adapter_with_a_tensor_too_many(saved: Path) -> None:
    tensors = load_file(saved / "adapter_model.safetensors")
    name = sorted(tensors)[-1]
    save_file(
        tensors | {name.replace("layers.1", "layers.7"): tensors[name].clone()}, saved / "adapter_model.safetensors"
    )
    refused(saved, ValueError, r"does not fit the base model .*0 tensors are missing, 1 have no place.*layers\.7")


def test_an_adapter_for_modules_that_the_base_lacks(saved: Path) -> None:
    change(saved / "adapter_config.json", target_modules=["query_key_value"])
    refused(saved, ValueError, r"does not fit the base model .*query_key_value")


def test_another_kind_of_adapter(saved: Path) -> None:
    settings = {"peft_type": "IA3", "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], "feedforward_modules": []}
    named = json.loads((saved / "adapter_config.json").read_text())["base_model_name_or_path"]
    (saved / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": named}))
    refused(saved, ValueError, "peft_type='IA3'; only LORA is read")


def test_a_reward_model(saved: Path) -> None:
    change(saved / "adapter_config.json", task_type="SEQ_CLS")
    refused(saved, ValueError, "task_type='SEQ_CLS' writes nothing")


def test_two_base_models(saved: Path) -> None:
    change(saved / "adapter_config.json", base_model_name_or_path="somebody/else")
    refused(saved, ValueError, r"names the base model '.*base', adapter_config.json 'somebody/else'")


def test_an_adapter_on_an_adapter(saved: Path, origin: Path) -> None:
    refused(saved, ValueError, "is an adapter itself: merge it first", base_model=str(origin / "adapter"))


def test_a_tokenizer_that_is_too_large(saved: Path) -> None:
    larger = tokenizer()
    larger.add_tokens([f"<extra-{number}>" for number in range(40)])
    larger.save_pretrained(saved)
    refused(saved, ValueError, r"the tokenizer has 540 tokens and .* embeddings for 512")


def test_a_tokenizer_without_a_chat_template(saved: Path) -> None:
    (saved / "chat_template.jinja").unlink()
    refused(saved, ValueError, "has no chat template")


def test_nothing_of_that_name(tmp_path: Path) -> None:
    options: dict[str, Any] = {"cache_dir": tmp_path, "local_files_only": True}
    for load in (RecLMProfiler.from_pretrained, RecLMProfilerProcessor.from_pretrained):
        with pytest.raises(OSError, match=r"'nobody/nothing' could not be fetched .* pass the path of a folder"):
            load("nobody/nothing", **options)
        with pytest.raises(OSError, match="neither a folder nor a Hub id"):
            load("./not/a/folder", **options)


def test_a_stock_adapter_loads_and_says_what_is_not_known(saved: Path, caplog: Any) -> None:
    for name in (PROFILER_CONFIG, "generation_config.json"):
        (saved / name).unlink()
    loaded = RecLMProfiler.from_pretrained(saved, dtype="float32", device="cpu")
    assert torch.equal(logits(loaded.model), logits(adapted()))
    assert "a stock adapter on" in caplog.text
    assert loaded.config.prompts == {}
    assert loaded.config.layout == "adapter"


def test_a_stock_adapter_without_tokenizer_takes_the_bases(saved: Path) -> None:
    for path in saved.iterdir():
        if path.name not in ("adapter_config.json", "adapter_model.safetensors"):
            path.unlink()
    loaded = RecLMProfiler.from_pretrained(saved, dtype="float32", device="cpu")
    assert torch.equal(logits(loaded.model), logits(adapted()))
    assert loaded.tokenizer.chat_template == tokenizer().chat_template
    assert RecLMProfilerProcessor.from_pretrained(saved).tokenizer.get_vocab() == tokenizer().get_vocab()


def test_a_stock_adapter_that_names_no_base(saved: Path, origin: Path) -> None:
    (saved / PROFILER_CONFIG).unlink()
    change(saved / "adapter_config.json", base_model_name_or_path=None)
    refused(saved, ValueError, r"adapter_config.json: base_model_name_or_path .*name a model")
    assert RecLMProfiler.from_pretrained(saved, base_model=str(origin / "base"), dtype="float32")


def test_other_prompts_are_said(saved: Path, caplog: Any) -> None:
    RecLMProfiler.from_pretrained(saved, dtype="float32")
    assert "other prompts" not in caplog.text
    change(saved / PROFILER_CONFIG, prompts={"user": "user-0", "item": "item-0", "verse": "verse-1"})
    RecLMProfiler.from_pretrained(saved, dtype="float32")
    assert "tuned with other prompts than this version writes: user user-0 (now " in caplog.text
    assert "verse" not in caplog.text


def test_a_profiler_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ValueError, match="it is another model"):
        RecLMProfiler(base_model(), tokenizer(), RecLMProfilerConfig("owner/chat", base_vocab_size=7))

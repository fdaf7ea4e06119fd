"""What is saved loads again with equal logits, here and with plain peft and transformers; nothing needs a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from reclm_hf.profiler.configuration_reclm_profiler import PROFILER_CONFIG, RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from tests.profiler.models import BASE, COMMIT, adapted, base_model, logits, profiler, save_base, tokenizer

BESIDE = {"generation_config.json", PROFILER_CONFIG, "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
ADAPTER = {"adapter_config.json", "adapter_model.safetensors"} | BESIDE
MERGED = {"config.json", "model.safetensors"} | BESIDE


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model, a profiler with an adapter on it, and the same merged."""
    root = tmp_path_factory.mktemp("profilers")
    one = profiler(str(save_base(root / "base")))
    one.save_pretrained(root / "adapter")
    one.save_pretrained(root / "merged", merge=True)
    return root


@pytest.fixture(scope="module")
def expected() -> Any:
    return logits(adapted())


def load(path: Path | str, **options: Any) -> RecLMProfiler:
    return RecLMProfiler.from_pretrained(path, **{"dtype": "float32", "device": "cpu", **options})


def close(left: Any, right: Any, tolerance: float = 1e-6) -> bool:
    return bool((left - right).abs().max() <= tolerance)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_adapter_matters(expected: Any) -> None:
    assert not close(expected, logits(base_model()), 1.0)


@pytest.mark.parametrize(("layout", "files"), [("adapter", ADAPTER), ("merged", MERGED)])
def test_the_files_are_those_of_the_layout(places: Path, layout: str, files: set[str]) -> None:
    assert names(places / layout) == files
    stored = json.loads((places / layout / PROFILER_CONFIG).read_text())
    assert stored["layout"] == layout
    # An adapter loads where its base is; a whole model needs no base.
    assert stored["base_model"] == (str(places / "base") if layout == "adapter" else "base")


@pytest.mark.parametrize(("layout", "tolerance"), [("adapter", 1e-6), ("merged", 1e-4)])
def test_logits_come_back(places: Path, expected: Any, layout: str, tolerance: float) -> None:
    loaded = load(places / layout)
    assert loaded.config.layout == layout
    assert close(logits(loaded.model), expected, tolerance)


def test_a_merged_model_saved_again_is_the_same(places: Path, tmp_path: Path) -> None:
    first = load(places / "merged")
    first.save_pretrained(tmp_path)
    assert names(tmp_path) == MERGED
    assert close(logits(load(tmp_path).model), logits(first.model))


def test_an_adapter_saved_again_is_the_same(places: Path, tmp_path: Path, expected: Any) -> None:
    load(places / "adapter").save_pretrained(tmp_path)
    assert close(logits(load(tmp_path).model), expected)
    for name in ("adapter_config.json", PROFILER_CONFIG):
        first, second = (json.loads((folder / name).read_text()) for folder in (places / "adapter", tmp_path))
        assert first | {"base_label": ""} == second | {"base_label": ""}


def test_merging_leaves_the_profiler_as_it_is(expected: Any, tmp_path: Path) -> None:
    one = profiler()
    one.save_pretrained(tmp_path, merge=True)
    assert one.config.layout == "adapter"
    assert torch.equal(logits(one.model), expected)


def test_merged_in_memory(places: Path, expected: Any, tmp_path: Path) -> None:
    loaded = load(places / "adapter", merge=True)
    assert loaded.config.layout == "merged"
    assert close(logits(loaded.model), expected, 1e-4)
    loaded.save_pretrained(tmp_path)
    assert names(tmp_path) == MERGED
    assert loaded.label == load(places / "adapter").label + ", merged"


def test_plain_peft_loads_the_adapter(places: Path, expected: Any) -> None:
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(places / "base")
    assert close(logits(PeftModel.from_pretrained(base, str(places / "adapter"))), expected)
    assert close(logits(AutoPeftModelForCausalLM.from_pretrained(str(places / "adapter"))), expected)
    found = AutoTokenizer.from_pretrained(places / "adapter")
    assert found.chat_template == tokenizer().chat_template


def test_plain_transformers_loads_the_merged_model(places: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(places / "merged")
    assert close(logits(plain), logits(load(places / "merged").model))


def test_a_pipeline_takes_the_merged_model(places: Path) -> None:
    from transformers import pipeline

    ours = load(places / "merged")
    stock = pipeline("text-generation", str(places / "merged"), device="cpu")
    assert close(logits(stock.model), logits(ours.model))
    chat = [{"role": "user", "content": "What does this person enjoy?"}]
    (said,) = stock(chat, max_new_tokens=8, do_sample=False)
    prompt = torch.tensor([ours.processor.encode(chat)])
    written = ours.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False, pad_token_id=0
    )
    assert said["generated_text"][-1]["content"] == ours.tokenizer.decode(
        written[0, prompt.shape[1] :], skip_special_tokens=True
    )


def test_a_fresh_process_offline(places: Path, expected: Any, child_environment: dict[str, str]) -> None:
    program = (
        "import sys, torch\n"
        "from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler\n"
        "from tests.profiler.models import logits\n"
        "for layout in ('adapter', 'merged'):\n"
        "    loaded = RecLMProfiler.from_pretrained(f'{sys.argv[1]}/{layout}', dtype='float32', device='cpu')\n"
        "    torch.save(logits(loaded.model), f'{sys.argv[1]}/{layout}-logits')\n"
    )
    environment = {**child_environment, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", program, str(places)], env=environment, check=True, timeout=300)
    assert close(torch.load(places / "adapter-logits"), expected)
    assert close(torch.load(places / "merged-logits"), logits(load(places / "merged").model))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A Hub cache with two commits of a base model, and an adapter on the older one."""
    for commit, seed in ((COMMIT, 0), ("d" * 40, 5)):
        save_base(tmp_path / "models--somebody--tiny-chat" / "snapshots" / commit, seed=seed)
    made = RecLMProfiler(adapted(), tokenizer(), RecLMProfilerConfig(BASE, COMMIT, f"{BASE}@{COMMIT}"))
    made.save_pretrained(tmp_path / "models--somebody--profiler" / "snapshots" / ("e" * 40))
    made.save_pretrained(tmp_path / "models--somebody--merged" / "snapshots" / ("f" * 40), merge=True)
    for name, commit in (("tiny-chat", "d" * 40), ("profiler", "e" * 40), ("merged", "f" * 40)):
        reference = tmp_path / f"models--somebody--{name}" / "refs" / "main"
        reference.parent.mkdir()
        reference.write_text(commit)
    return tmp_path


def test_from_the_hub_the_base_is_taken_at_its_commit(cache: Path, expected: Any, caplog: Any) -> None:
    loaded = load("somebody/profiler", cache_dir=cache, local_files_only=True)
    assert close(logits(loaded.model), expected)
    assert (loaded.config.base_model, loaded.config.base_revision) == (BASE, COMMIT)
    assert loaded.label == f"somebody/profiler@{'e' * 40} on {BASE}@{COMMIT}"
    assert not caplog.records


def test_from_the_hub_merged_and_untuned(cache: Path, expected: Any) -> None:
    loaded = load("somebody/merged", cache_dir=cache, local_files_only=True)
    assert close(logits(loaded.model), expected, 1e-4)
    assert loaded.label == f"somebody/merged@{'f' * 40}"
    plain = load(BASE, revision=COMMIT, cache_dir=cache, local_files_only=True)
    assert close(logits(plain.model), logits(base_model()))
    assert plain.config.base_revision == COMMIT
    assert plain.model.name_or_path == BASE, "an adapter made on it names the Hub's id, not a folder of the cache"
    assert not plain.config.prompts


def test_a_plain_peft_user_is_pointed_to_the_base_on_the_hub(cache: Path) -> None:
    (folder,) = (cache / "models--somebody--profiler" / "snapshots").iterdir()
    stated = json.loads((folder / "adapter_config.json").read_text())
    assert (stated["base_model_name_or_path"], stated["revision"]) == (BASE, COMMIT)


def test_other_base_weights_are_said(cache: Path, caplog: Any) -> None:
    (folder,) = (cache / "models--somebody--profiler" / "snapshots").iterdir()
    for name in ("adapter_config.json", PROFILER_CONFIG):
        text = (folder / name).read_text().replace(f'revision": "{COMMIT}"', 'revision": null')
        (folder / name).write_text(text)
    loaded = load("somebody/profiler", cache_dir=cache, local_files_only=True)
    assert f"made on {BASE}@{COMMIT} and is put on {BASE}@{'d' * 40}" in caplog.text
    assert loaded.config.base_revision == "d" * 40, "what is saved now names what it stood on"


def test_no_saved_file_names_a_place_or_a_secret(cache: Path, tmp_path: Path) -> None:
    secret = "hf_" + "S3cret" * 6
    loaded = load("somebody/profiler", cache_dir=cache, local_files_only=True, token=secret)
    loaded.save_pretrained(tmp_path / "adapter")
    loaded.save_pretrained(tmp_path / "merged", merge=True)
    secrets = (secret, str(tmp_path), os.path.expanduser("~") + "/", "snapshots", str(constants.HF_HUB_CACHE))
    files = [path for layout in ("adapter", "merged") for path in (tmp_path / layout).iterdir()]
    assert len(files) == len(ADAPTER) + len(MERGED)
    for path in files:
        content = path.read_bytes()
        for forbidden in secrets:
            assert forbidden.encode() not in content, f"{path.name}: {forbidden}"


def test_a_plain_folder_is_stored_by_its_name(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places / "base")
    for source in (places / "base", Path(".")):
        loaded = load(source)
        assert loaded.config.base_model == "base"
        assert loaded.label.startswith("base sha256:")
        loaded.save_pretrained(tmp_path)
        assert names(tmp_path) == MERGED
        for path in tmp_path.iterdir():
            assert str(places).encode() not in path.read_bytes(), path.name
    assert close(logits(load(tmp_path).model), logits(base_model()))
    assert load(tmp_path).config.base_model == "base", "a second folder does not rename the model"


def test_an_adapter_names_its_base_as_it_was_given(places: Path, tmp_path: Path) -> None:
    profiler().save_pretrained(tmp_path)
    assert json.loads((tmp_path / PROFILER_CONFIG).read_text())["base_model"] == BASE
    assert load(places / "adapter").config.base_model == str(places / "base"), "it loads where that is"


def test_an_adapter_of_any_name_is_saved_flat(tmp_path: Path) -> None:
    one = RecLMProfiler(adapted(adapter="policy"), tokenizer(), RecLMProfilerConfig(str(save_base(tmp_path / "base"))))
    one.save_pretrained(tmp_path / "one")
    assert names(tmp_path / "one") == ADAPTER
    assert close(logits(load(tmp_path / "one").model), logits(one.model))


@pytest.mark.parametrize(
    ("merge", "old"),
    [
        (False, ["model.safetensors"]),
        (
            True,
            ["adapter_model.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
        ),
    ],
)
def test_other_files_stay_and_old_weights_go(tmp_path: Path, merge: bool, old: list[str]) -> None:
    others = ("README.md", "user_vectors.safetensors", "items.safetensors.index.json", "my_adapter_model.safetensors")
    for name in (*others, *old):
        (tmp_path / name).write_text(name)
    profiler().save_pretrained(tmp_path, merge=merge)
    assert names(tmp_path) == (MERGED if merge else ADAPTER) | set(others)
    assert [(tmp_path / name).read_text() for name in others] == list(others)


def test_the_settings_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda old, new: (moved.append(Path(new).name), replace(old, new)))
    profiler().save_pretrained(tmp_path)
    assert set(moved) == ADAPTER
    assert moved[-1] == PROFILER_CONFIG


@pytest.mark.parametrize("merge", [False, True])
def test_a_folder_that_was_not_finished_has_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool
) -> None:
    """Saving over an earlier profiler stops at any of its files: what stands there does not say it is whole."""
    one, other = profiler(), profiler(seed=9)
    replace = os.replace
    for stop in range(len(MERGED if merge else ADAPTER)):
        one.save_pretrained(tmp_path, merge=merge)
        assert (tmp_path / PROFILER_CONFIG).is_file()
        moved: list[str] = []

        def until(old: Path, new: Path, stop: int = stop, moved: list[str] = moved) -> None:
            if len(moved) == stop:
                raise OSError(28, "No space left on device")
            moved.append(new.name)
            replace(old, new)

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", until)
            with pytest.raises(OSError, match=r"could not be written .*No space left"):
                other.save_pretrained(tmp_path, merge=merge)
        assert not (tmp_path / PROFILER_CONFIG).exists()
        assert not list(tmp_path.glob(".saving-*"))
    one.save_pretrained(tmp_path, merge=merge)
    assert names(tmp_path) == (MERGED if merge else ADAPTER)


def test_another_layout_is_not_saved_over(places: Path, tmp_path: Path) -> None:
    one = profiler()
    one.save_pretrained(tmp_path / "a")
    with pytest.raises(FileExistsError, match="another layout"):
        one.save_pretrained(tmp_path / "a", merge=True)
    assert names(tmp_path / "a") == ADAPTER
    one.save_pretrained(tmp_path / "m", merge=True)
    with pytest.raises(FileExistsError, match="another layout"):
        one.save_pretrained(tmp_path / "m")


def test_a_full_disk_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = profiler()
    one.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecLMProfilerConfig, "save", full)
    with pytest.raises(OSError, match=r"could not be written .*No space left"):
        profiler(seed=9).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_sampling_stands_in_the_generation_config(places: Path, tmp_path: Path) -> None:
    stated = json.loads((places / "adapter" / "generation_config.json").read_text())
    assert (stated["do_sample"], stated["temperature"], stated["top_p"]) == (True, 0.7, 0.9)
    loaded = load(places / "adapter")
    loaded.model.generation_config.temperature = 0.3
    loaded.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.engine().temperature == 0.3
    assert again.engine().top_p == 0.9


def test_an_adapter_can_be_tuned_further(places: Path) -> None:
    loaded = load(places / "adapter", trainable=True)
    weights = [name for name, weight in loaded.model.named_parameters() if weight.requires_grad]
    assert weights
    assert all("lora_" in name for name in weights)
    assert not any(weight.requires_grad for weight in load(places / "adapter").model.parameters())


def test_the_label_follows_the_weights(places: Path) -> None:
    loaded = load(places / "adapter")
    assert loaded.label.startswith("adapter sha256:")
    assert loaded.label.endswith(" on base")
    assert str(places) not in loaded.label
    assert load(places / "adapter").label == loaded.label
    with torch.no_grad():
        next(weight for name, weight in loaded.model.named_parameters() if "lora_B" in name).add_(1e-3)
    assert loaded.label != load(places / "adapter").label
    assert load(places / "merged").label.startswith("merged sha256:")

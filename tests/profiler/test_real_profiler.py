"""An adapter on the real small model: saved, loaded from its folder alone, and writing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from reclm_hf.bundles import BundleError, load_causal_lm
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.engines import DEFAULT_MODEL
from reclm_hf.profiles.profile import well_formed

TASTES = {
    "horror": ["Insidious", "Evil Dead", "The Conjuring", "Sinister", "The Ring"],
    "western": ["Unforgiven", "Django", "True Grit", "Rio Bravo", "Shane"],
}


def tables() -> dict[str, pd.DataFrame]:
    rows = [(taste, title) for taste, titles in TASTES.items() for title in titles]
    items = pd.DataFrame(rows, columns=["category", "item_id"])
    items["title"], items["categories"] = items["item_id"], items["category"].map(lambda name: [name, "Drama"])
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id"])
    return {"items": items.drop(columns="category"), "interactions": interactions}


@pytest.mark.slow
def test_an_adapter_on_the_real_model(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    try:
        model, tokenizer, resolved = load_causal_lm(DEFAULT_MODEL, dtype="float32")
    except BundleError as error:
        pytest.skip(f"{DEFAULT_MODEL} is not at hand: {error}")
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model, lora).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.01)
    revision = resolved.revision if resolved.bundle is None else None
    made = RecLMProfiler(adapted, tokenizer, RecLMProfilerConfig(DEFAULT_MODEL, revision, resolved.label))
    made.save_pretrained(tmp_path / "adapter")
    made.save_pretrained(tmp_path / "merged", merge=True)

    stated = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert stated["base_model_name_or_path"] == DEFAULT_MODEL
    ids = torch.tensor([made.processor.encode([{"role": "user", "content": "Name three westerns."}])])
    with torch.inference_mode():
        expected = adapted(input_ids=ids).logits
        with adapted.disable_adapter():
            plain = adapted(input_ids=ids).logits
        assert (expected - plain).abs().max() > 0.1, "the adapter matters"
        loaded = RecLMProfiler.from_pretrained(tmp_path / "adapter", dtype="float32", device="cpu")
        assert (loaded.model(input_ids=ids).logits - expected).abs().max() <= 1e-6
        merged = RecLMProfiler.from_pretrained(tmp_path / "merged", dtype="float32", device="cpu")
        assert (merged.model(input_ids=ids).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert loaded.label.endswith(f" on {resolved.label}")

    table = loaded.generate_profiles(tables(), progress=False)
    assert table["user_id"][:] == list(TASTES)
    assert all(well_formed(text) for text in table["profile"]), table["profile"][:]
    assert len(set(table["profile"])) == 2
    assert all(taste in text for taste, text in zip(TASTES, table["profile"], strict=True)), table["profile"][:]
    odds = loaded.predict_interactions(
        [("horror", "Shane"), ("western", "Shane")], tables(), profiles=table, progress=False
    )
    assert ((odds > 0) & (odds < 1)).all()
    assert odds[0] != odds[1]

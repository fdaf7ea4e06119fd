"""The real transformers and peft clients against the server: a whole model, in shards, an adapter on top of it."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import HfApi
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.hubserver.loopback import LoopbackHub
from tests.profiler.models import base_model, logits, tokenizer


def test_model_shards_adapter(hub: LoopbackHub, tmp_path: Path) -> None:
    model, whole, shards = base_model(), f"{hub.namespace}/whole", f"{hub.namespace}/shards"
    commit = model.push_to_hub(whole).oid
    tokenizer().push_to_hub(whole)
    model.push_to_hub(shards, max_shard_size="100KB", private=True)
    assert sum(name.endswith(".safetensors") for name in hub.files(shards)) > 1
    for repo, revision in ((whole, "main"), (whole, commit), (shards, "main")):
        loaded = AutoModelForCausalLM.from_pretrained(repo, revision=revision)
        torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=0)
    assert AutoTokenizer.from_pretrained(whole).get_vocab() == tokenizer().get_vocab()

    base, adapter = AutoModelForCausalLM.from_pretrained(whole), f"{hub.namespace}/adapter"
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    with_adapter = get_peft_model(base, lora).eval()
    with_adapter.save_pretrained(str(tmp_path))
    HfApi().create_repo(adapter)
    HfApi().upload_folder(repo_id=adapter, folder_path=tmp_path)
    assert PeftConfig.from_pretrained(adapter).base_model_name_or_path == whole
    base = AutoModelForCausalLM.from_pretrained(whole)
    for again in (PeftModel.from_pretrained(base, adapter), AutoPeftModelForCausalLM.from_pretrained(adapter)):
        torch.testing.assert_close(logits(again.eval()), logits(with_adapter), rtol=0, atol=0)

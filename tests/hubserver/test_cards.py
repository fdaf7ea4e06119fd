"""Raw HTTP: what the Hub finds wrong with the metadata of a README."""

from __future__ import annotations

import pytest

from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import Raw, regular

RESULT = """\
model-index:
- name: a
  results:
  - task: {type: other}
    dataset: {type: org/data, name: Data}
    metrics:
    - {type: recall, value: 0.5, args: {low: 0.4, high: 0.6}}
"""
GOOD = {
    "model": f"license: apache-2.0\nlanguage: [en, de]\ntags: [a]\nbase_model: org/base\nbase_model_relation: adapter\n"
    f"datasets: [org/data]\npipeline_tag: text-generation\n{RESULT}",
    "dataset": "license: other\nlicense_name: own\nconfigs:\n- {config_name: a, default: true}\n- {config_name: b}\n",
    "space": "title: A\nsdk: gradio\nsdk_version: 6.31.0\ncolorFrom: indigo\ncolorTo: purple\nlicense: mit\n",
}
BAD = [
    ("model", "license: 5", "license"),
    ("model", "license: {name: mit}", "license"),
    ("model", "license: my-own", "license"),
    ("model", "license: [mit", "YAML"),
    ("model", "license: mit\nlicense: mit", "duplicated"),
    ("model", "a: b: c", "YAML"),
    ("model", "- a\n- b", "mapping"),
    ("model", "tags: one", "tags"),
    ("model", "tags: [1, 2]", "tags"),
    ("model", "language: English", "language"),
    ("model", "base_model: not an id", "base_model"),
    ("model", "base_model_relation: child", "base_model_relation"),
    ("model", "library_name: [a]", "library_name"),
    ("model", "model-index: {name: a}", "model-index"),
    ("model", RESULT.replace("name: a\n", "title: a\n"), "name"),
    ("model", "model-index: [{name: a}]", "results"),
    ("model", RESULT.replace("{type: other}", "other"), "task"),
    ("model", RESULT.replace("type: org/data, ", ""), "dataset.type"),
    ("model", RESULT.replace("type: recall, ", ""), "metrics[0].type"),
    ("model", RESULT.replace("value: 0.5, ", ""), "metrics[0].value"),
    ("model", RESULT.replace("0.5", ".nan"), "finite"),
    ("dataset", "configs: a", "configs"),
    ("dataset", "configs: [{data_files: a}]", "config_name"),
    ("dataset", "configs: [{config_name: a}, {config_name: a}]", "twice"),
    ("dataset", "configs: [{config_name: a, default: true}, {config_name: b, default: true}]", "default"),
    ("space", "colorFrom: orange", "colorFrom"),
    ("space", "sdk: flask", "sdk"),
    ("space", "sdk_version: 6.3", "sdk_version"),
    ("space", f"short_description: {'a' * 61}", "60"),
]


def card(metadata: str) -> str:
    return f"---\n{metadata.rstrip()}\n---\n# Title\n"


@pytest.mark.parametrize("kind", GOOD)
def test_good(remote_hub: LoopbackHub, kind: str) -> None:
    raw = Raw(remote_hub, kind=f"{kind}s", sdk="gradio")
    answer = raw("POST", "/api/validate-yaml", {"content": card(GOOD[kind]), "repoType": kind})
    assert (answer.status, answer.json) == (200, {"errors": [], "warnings": []})
    assert raw.commit(regular("README.md", card(GOOD[kind]).encode())).status == 200


def test_bad(remote_hub: LoopbackHub) -> None:
    """Refused when asked about, and when committed."""
    repos = {kind: Raw(remote_hub, kind, f"{kind}s", sdk="gradio") for kind in GOOD}
    for kind, metadata, word in BAD:
        raw = repos[kind]
        answer = raw("POST", "/api/validate-yaml", {"content": card(metadata), "repoType": kind})
        assert answer.status == 400, metadata
        assert word in " ".join(error["message"] for error in answer.json["errors"])
        committed = raw.commit(regular("README.md", card(metadata).encode()))
        assert (committed.status, word in committed.json["error"]) == (400, True), metadata
        # The same elsewhere than in the README of the root is nobody's metadata.
        assert raw.commit(regular("docs/README.md", card(metadata).encode())).status == 200
    assert all("README.md" not in remote_hub.files(raw.id, kind) for kind, raw in repos.items())


def test_warnings(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    for content, word in (("# No metadata", "missing"), (card("pipeline_tag: recommendation"), "official list")):
        answer = raw("POST", "/api/validate-yaml", {"content": content, "repoType": "model"})
        assert answer.status == 200
        assert [word in warning["message"] for warning in answer.json["warnings"]] == [True]


def test_what_is_read_from_it(remote_hub: LoopbackHub) -> None:
    raw = Raw(remote_hub)
    text = card(GOOD["model"]) + "See https://arxiv.org/abs/2412.19302"
    raw.put(README_md=text, config_json='{"model_type": "llama", "architectures": ["A"], "hidden_size": 4}')
    told = raw("GET", "API").json
    assert told["cardData"]["base_model"] == "org/base"
    assert told["pipeline_tag"] == "text-generation"
    assert told["config"] == {"model_type": "llama", "architectures": ["A"]}
    assert told["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.5
    wanted = {"a", "license:apache-2.0", "language:de", "dataset:org/data", "arxiv:2412.19302"}
    assert wanted | {"base_model:org/base", "base_model:adapter:org/base"} <= set(told["tags"])

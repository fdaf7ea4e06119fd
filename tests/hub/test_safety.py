"""Names and texts that must not travel, in either direction."""

from __future__ import annotations

import logging

import pytest

from reclm_hf.hub.kinds import KINDS
from reclm_hf.hub.safety import PICKLES, check_names, check_no_secret

RECOMMENDER = KINDS["recommender"]
TOKEN = "hf_" + "aB3" * 11 + "z"


def test_the_allow_list_decides(caplog: pytest.LogCaptureFixture) -> None:
    names = ["config.json", "model.safetensors", "notes.docx", "run.sh", "README.md", "deep/config.json"]
    with caplog.at_level(logging.WARNING):
        assert check_names(names, RECOMMENDER) == ["README.md", "config.json", "model.safetensors"]
    assert "deep/config.json, notes.docx, run.sh" in caplog.text


def test_code_only_where_it_was_asked_for() -> None:
    assert check_names(["modeling.py"], RECOMMENDER) == []
    assert check_names(["modeling.py", "deep/modeling.py"], RECOMMENDER, code=True) == ["modeling.py"]
    assert check_names(["modeling.py"], KINDS["profiler"], code=True) == []
    assert check_names(["app.py"], KINDS["space"]) == ["app.py"]


@pytest.mark.parametrize("name", [f"weights{ending}" for ending in PICKLES] + ["deep/Pytorch_Model.BIN"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_pickles_are_refused(kind: object, name: str) -> None:
    with pytest.raises(ValueError, match=r"is a pickle.*safetensors"):
        check_names(["config.json", name], kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "../config.json",
        "deep/../../config.json",
        "/etc/config.json",
        "~/config.json",
        "deep//config.json",
        "./config.json",
        "..\\config.json",
        "C:config.json",
        "config.json\n",
        "config\u202e.json",
        "",
        "x" * 256,
        ".git/config",
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="the file name"):
        check_names([name], RECOMMENDER)


@pytest.mark.parametrize(
    "text",
    [
        f"token: {TOKEN}",
        f"https://somebody:secret@huggingface.co/x {TOKEN}",
        "https://somebody:secret@huggingface.co/x",
        '{"Authorization": "Bearer abc"}',
        "authorization: bearer x",
        "curl -H 'Bearer abcdefghijklmnop1234'",
    ],
)
def test_secrets_are_found_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md holds a.*nothing was pushed") as caught:
        check_no_secret(text, "README.md")
    assert TOKEN not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_token_in_use_is_found_whatever_it_looks_like() -> None:
    with pytest.raises(ValueError, match="the token in use"):
        check_no_secret("key = local-secret-7", "config.json", ["local-secret-7"])


@pytest.mark.parametrize(
    "text",
    [
        "import reclm_hf\nfrom huggingface_hub import hf_hub_download",
        "reclm_hf_recommendermodels_andmore",
        "https://huggingface.co/org/x@main",
        "Set HF_TOKEN or run `hf auth login`; authorization is asked for there.",
    ],
)
def test_what_only_looks_like_one(text: str) -> None:
    check_no_secret(text, "README.md", [""])

"""What the events of the page have in common: who is served when, and choices that a restart does not make void."""

from __future__ import annotations

from typing import Any

import gradio as gr

# Answers are short and hold the interpreter's lock for most of their time: more at once would only make each slower.
_AT_ONCE = 4

API: dict[str, Any] = {"concurrency_id": "answers", "concurrency_limit": _AT_ONCE}
"""Of the named endpoints: all answers wait in one line, first come, first served, whatever they are asked for by."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", **API}
"""Of the events of the page, which are in no API."""

WRITING: dict[str, Any] = {"api_visibility": "private", "concurrency_id": "writing", "concurrency_limit": 1}
"""Of a language model, which takes all cores for some seconds: one at a time, and no answer waits behind it."""


def unchecked(component: gr.Dropdown | gr.CheckboxGroup) -> Any:
    """The component, taking whatever was chosen as it comes: the answers check it, in sentences.

    Gradio would refuse what it does not remember to have offered, which are all pages that are open over a restart.
    """
    component.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return component

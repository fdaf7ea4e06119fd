"""The note for cores that may be idle: said where it can help, and nowhere else."""

from __future__ import annotations

import logging

import pytest
import torch

from reclm_hf.pipeline import threads


@pytest.mark.parametrize(
    ("cores", "running", "accelerator", "processes", "said"),
    [
        (4, 1, False, "1", True),
        (1, 1, False, "1", False),
        (4, 2, False, "1", False),
        (4, 1, True, "1", False),
        (4, 1, False, "2", False),
    ],
    ids=["one of four", "one core", "asked for more", "on an accelerator", "a launch of two processes"],
)
def test_the_note(
    cores: int,
    running: int,
    accelerator: bool,
    processes: str,
    said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: running)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: accelerator)
    monkeypatch.setenv("WORLD_SIZE", processes)
    with caplog.at_level(logging.INFO):
        threads.note_idle_cores()
    assert len(caplog.records) == said
    assert all("one thread of 4 cores" in line and "--threads N" in line for line in caplog.messages)

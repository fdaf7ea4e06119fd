"""Evaluation: all-rank metrics, the protocol, paired statistics and the written report. Needs numpy only to import."""

from __future__ import annotations

from .metrics import UNRANKED, target_ranks, user_metrics
from .protocol import Evaluation, MeanUser, SettingResult, evaluate, mean_user
from .report import write_files, write_report
from .report_text import render_terminal
from .rows import Row, comparisons_table, results_table

__all__ = [
    "UNRANKED",
    "Evaluation",
    "MeanUser",
    "Row",
    "SettingResult",
    "comparisons_table",
    "evaluate",
    "mean_user",
    "render_terminal",
    "results_table",
    "target_ranks",
    "user_metrics",
    "write_files",
    "write_report",
]

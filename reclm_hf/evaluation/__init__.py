"""Evaluation: all-rank metrics, the protocol, lists beyond accuracy, paired statistics and the written report.

Needs numpy only to import.
"""

from __future__ import annotations

from .beyond import BeyondAccuracy, beyond_accuracy, beyond_table
from .comparisons import comparisons_table
from .metrics import UNRANKED, target_ranks, user_metrics
from .protocol import Evaluation, MeanUser, SettingResult, evaluate, mean_user
from .report import write_files, write_report
from .report_text import render_terminal
from .rows import Row, results_table
from .strata import strata_table

__all__ = [
    "UNRANKED",
    "BeyondAccuracy",
    "Evaluation",
    "MeanUser",
    "Row",
    "SettingResult",
    "beyond_accuracy",
    "beyond_table",
    "comparisons_table",
    "evaluate",
    "mean_user",
    "render_terminal",
    "results_table",
    "strata_table",
    "target_ranks",
    "user_metrics",
    "write_files",
    "write_report",
]

"""Runs, one or several side by side: report.html, report.md and a table for the terminal. No model.

Task names, predictions and settings are other people's text: they are escaped wherever they are shown.
The files import downwards only: page; content, explorer, plots; summary, score_plots, course_plots,
loss_plot, broken; portrait; grid, prompts, drawing, table, cells; spread, colours; answered; record, text.
Plotly, jinja2 and rich load when a report is made.
"""

from kpig.report.page import rendered, write
from kpig.report.portrait import Portrait, portraits
from kpig.report.record import RunRecord, read_begun, read_run
from kpig.report.table import brief_table, terminal_table
from kpig.report.unfinished import is_unfinished, read_unfinished

__all__ = [
    "Portrait",
    "RunRecord",
    "brief_table",
    "is_unfinished",
    "portraits",
    "read_begun",
    "read_run",
    "read_unfinished",
    "rendered",
    "terminal_table",
    "write",
]

"""Finished runs, one or several side by side: report.html, report.md and a table for the terminal. No model.

Task names, predictions and settings are other people's text: they are escaped wherever they are shown.
The files import downwards only: page; content, examples, plots; score_plots, loss_plot; drawing, table;
record, text. Plotly, jinja2 and rich load when a report is made.
"""

from kpig.report.page import write
from kpig.report.record import RunRecord, read_run
from kpig.report.table import terminal_table
from kpig.report.unfinished import is_unfinished, read_unfinished

__all__ = ["RunRecord", "is_unfinished", "read_run", "read_unfinished", "terminal_table", "write"]

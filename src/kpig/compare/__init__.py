"""Runs of several methods, seeds and orders in one table: means, intervals, tests, ranks, cost. No model.

Method names, settings and notes are other people's text: they are escaped wherever they are shown.
The files import downwards only: page; plots, formats; latex; sheets; comparison; notes; lines, labels;
equality; runs; measures, statistics. Plotly, jinja2 and rich load when something is drawn.
"""

from kpig.compare.comparison import Comparison, compare
from kpig.compare.formats import FORMATS, show
from kpig.compare.page import write

__all__ = ["FORMATS", "Comparison", "compare", "show", "write"]

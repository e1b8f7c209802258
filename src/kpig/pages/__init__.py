"""The shell of every HTML page: one file, no network, nothing executed from data. No torch.

What a page shows of other people's data travels compressed and reaches it as text only. The files import
downwards only: shell; libraries; packing, policy. Jinja2 loads when a page is made.
"""

from kpig.pages.shell import render

__all__ = ["render"]

"""Runs and their comparison in a browser, from a server on this machine that pages of unfinished runs ask.

A URL holds a token and a number, never a path: what is shown was found below the folders that were given.
The files import downwards only: server; app; guard, build; shelf. Starlette and uvicorn load with a server.
"""

from kpig.view.server import serve

__all__ = ["serve"]

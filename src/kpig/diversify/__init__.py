"""Reword instructions, so that a model cannot just memorise one wording (docs/method.md, section 3).

    from kpig.diversify import diversify, write
    report = diversify(stream.load("tasks").tasks, n=20)          # offline: breadth only
    report = diversify(tasks, n=20, backend=text_backend)          # a language model: all four ways
    write(report, Path("tasks"))                                   # tasks/variants.json, read with the tasks

Importing this loads neither torch nor a language model.
"""

from kpig.diversify.accept import Standards
from kpig.diversify.job import diversify
from kpig.diversify.report import Report, TaskReport
from kpig.diversify.variant import OFFLINE, Fault, Rejection, Variant
from kpig.diversify.write import free_path, write
from kpig.tasks.readers.variants import WAYS

__all__ = [
    "OFFLINE",
    "WAYS",
    "Fault",
    "Rejection",
    "Report",
    "Standards",
    "TaskReport",
    "Variant",
    "diversify",
    "free_path",
    "write",
]

"""The contract that every method keeps, as tests to inherit (docs/add-a-method.md). It needs pytest.

import kpig.testing

class TestMine(kpig.testing.MethodContract):
    method = "my_package.mine:Mine"
"""

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "kpig.testing is a suite of tests for pytest, which cannot be imported "
        f"({error}); run: pip install pytest"
    ) from error

# Before the module is loaded, so that a failing assert shows its values outside of this package too.
pytest.register_assert_rewrite("kpig.testing.contract")

from kpig.testing.contract import MethodContract  # noqa: E402
from kpig.testing.history import History, configured, live  # noqa: E402
from kpig.testing.models import learner  # noqa: E402

__all__ = ["History", "MethodContract", "configured", "learner", "live"]

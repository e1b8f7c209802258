"""The methods that learn a stream, one file for each behind one interface (`kpig.methods.base.Method`)."""

from kpig.methods.registry import METHODS, Entry

__all__ = ["METHODS", "Entry"]

"""The ways to adapt a codec: one file a method, one visible table of names."""

from interfero.adaptation.adapter_file import load_adapter, save_adapter
from interfero.adaptation.catalogue import METHODS, find_method

__all__ = ["METHODS", "find_method", "load_adapter", "save_adapter"]

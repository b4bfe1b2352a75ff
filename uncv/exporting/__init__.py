"""Labelled frames in the formats of other programs that train potentials."""

from uncv.exporting.base import Provenance
from uncv.exporting.export import FORMATS, ExportedData, export_data
from uncv.io.base import LabelKeys

__all__ = ["FORMATS", "ExportedData", "LabelKeys", "Provenance", "export_data"]

"""Labelled frames in the formats of other programs that train potentials."""

from uncv.export_data.base import Provenance
from uncv.export_data.export import FORMATS, ExportedData, export_data
from uncv.io.base import LabelKeys

__all__ = ["FORMATS", "ExportedData", "LabelKeys", "Provenance", "export_data"]

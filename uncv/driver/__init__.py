"""What happens at each force evaluation of an engine, whichever engine it is."""

from uncv.driver.driver import Driver
from uncv.driver.plumed_alone import PlumedAlone
from uncv.driver.region import Frame, Region, StopEvent
from uncv.driver.window import Window

__all__ = ["Driver", "Frame", "PlumedAlone", "Region", "StopEvent", "Window"]

"""The demonstration: alanine dipeptide learnt twice, with and without a bias on the uncertainty."""

from uncv.demo.run import DemoProgress, DemoSummary, demo

__all__ = ["DemoProgress", "DemoSummary", "demo"]

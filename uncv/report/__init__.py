"""Reports: a page of HTML that stands alone, with figures that move and numbers beside them."""

from uncv.plots_chart import Chart, Table
from uncv.report.campaign import CampaignReport, ReportSettings, report_campaign
from uncv.report.page import Card, Facts, Folded, Missing, Notes, Page, Section, write_report

__all__ = [
    "CampaignReport",
    "Card",
    "Chart",
    "Facts",
    "Folded",
    "Missing",
    "Notes",
    "Page",
    "ReportSettings",
    "Section",
    "Table",
    "report_campaign",
    "write_report",
]

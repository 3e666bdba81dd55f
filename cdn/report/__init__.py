"""The capacity-planning report: one HTML file that works offline and fetches nothing."""

from cdn.report.data import ReportData
from cdn.report.page import build_report, refuse_no_report, write_report

__all__ = ["ReportData", "build_report", "refuse_no_report", "write_report"]

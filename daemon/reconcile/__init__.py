"""Comparing what the targets hold with what their sources hold."""

from daemon.progress import Progress
from daemon.reconcile.report import Difference, TableReport, TargetReport, VerifyReport
from daemon.reconcile.verify import verify

__all__ = ["Difference", "Progress", "TableReport", "TargetReport", "VerifyReport", "verify"]

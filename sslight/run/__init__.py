"""The walks of sslight, callable from a notebook."""

from sslight.run.evaluate import evaluate
from sslight.run.examine import Examination, examine
from sslight.run.export import export
from sslight.run.extract import extract
from sslight.run.fit import fit
from sslight.run.load import load_method
from sslight.run.plan import Plan, plan
from sslight.run.query import query
from sslight.run.report import report
from sslight.run.result import FitResult

__all__ = [
    "Examination",
    "FitResult",
    "Plan",
    "evaluate",
    "examine",
    "export",
    "extract",
    "fit",
    "load_method",
    "plan",
    "query",
    "report",
]

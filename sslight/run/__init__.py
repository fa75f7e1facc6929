"""The walks of sslight, callable from a notebook: fit, extract, evaluate, export, query, plan."""

from sslight.run.evaluate import evaluate
from sslight.run.export import export
from sslight.run.extract import extract
from sslight.run.fit import FitResult, fit
from sslight.run.load import load_method
from sslight.run.plan import Plan, plan
from sslight.run.query import query

__all__ = [
    "FitResult",
    "Plan",
    "evaluate",
    "export",
    "extract",
    "fit",
    "load_method",
    "plan",
    "query",
]

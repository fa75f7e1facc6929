"""The walks of sslight, callable from a notebook: fit, extract, evaluate, report, plan."""

from sslight.run.evaluate import evaluate
from sslight.run.extract import extract
from sslight.run.fit import FitResult, fit
from sslight.run.load import load_method
from sslight.run.plan import Plan, plan
from sslight.run.report import report

__all__ = ["FitResult", "Plan", "evaluate", "extract", "fit", "load_method", "plan", "report"]

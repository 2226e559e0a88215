"""Finds the experiments: every file of this folder that has an `EXPERIMENT`."""

from __future__ import annotations

import importlib
import pkgutil

import spinney.lab
from spinney.errors import UsageError
from spinney.lab.experiment import Experiment

ENGINE = {"experiment", "output", "plot", "registry", "summary", "sweep"}
"""Files of this folder that are no experiments."""


def names() -> list[str]:
    """The names of all experiments, sorted, without importing them."""
    found = [module.name for module in pkgutil.iter_modules(spinney.lab.__path__)]
    return sorted(name for name in found if name not in ENGINE and not name.startswith("_"))


def load(name: str) -> Experiment:
    """The experiment of that name; raises `UsageError` if there is none."""
    name = name.replace("-", "_")
    if name not in names():
        raise UsageError(f"there is no experiment {name!r}; there are: {', '.join(names())}")
    experiment = importlib.import_module(f"spinney.lab.{name}").EXPERIMENT
    assert isinstance(experiment, Experiment)
    assert experiment.name.replace("-", "_") == name, "an experiment bears its file's name"
    return experiment


def load_all() -> list[Experiment]:
    return [load(name) for name in names()]

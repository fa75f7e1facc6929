"""``sslight init``: from a folder of images to a config that runs.

:mod:`survey` looks at the folder, :mod:`recipes` finds the published recipe to build on,
:mod:`rules` holds the rules of thumb, each with its source, and :mod:`text` writes the YAML.
"""

from __future__ import annotations

from sslight.scaffold.draft import Draft, draft
from sslight.scaffold.survey import Survey, survey

__all__ = ["Draft", "Survey", "draft", "survey"]

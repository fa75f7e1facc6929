"""Augmentation: draws from counters, crops in workers, pixels in batches on the device."""

from sslight.augment.draws import normals, seed_of, uniforms
from sslight.augment.presets import PRESETS
from sslight.augment.spec import ViewSpec

# The function's name hides its module's: `from sslight.augment.views import ...` still works.
from sslight.augment.views import ViewMaker, Views, make_views, views

__all__ = [
    "PRESETS",
    "ViewMaker",
    "ViewSpec",
    "Views",
    "make_views",
    "normals",
    "seed_of",
    "uniforms",
    "views",
]

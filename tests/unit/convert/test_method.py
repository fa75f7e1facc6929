from __future__ import annotations

from sslight import registry
from sslight.convert.method import _LOSSES, SAME


def test_the_tables_name_methods_and_their_keys():
    assert set(_LOSSES.values()) <= set(SAME)
    for method, keys in SAME.items():
        takes = registry.signature("method", registry.resolve("method", method))
        assert set(keys.values()) <= set(takes), method

"""The JSON Schema of a config, for editors: made from the same signatures that check it.

It says what a config *may* hold, with the docstrings as descriptions. It requires nothing, since a
file may inherit the rest from ``_base_`` or get it on the command line; `sslight check` knows what
is missing. Any scalar may be ``???`` or an interpolation ``${...}``.
"""

from __future__ import annotations

from sslight.config.schema.document import schema, schema_text, write_schema

__all__ = ["schema", "schema_text", "write_schema"]

"""Parts that methods compose: teachers, heads, mixing, crops, checkpointing. One idea a file.

Import a part from its file: ``from sslight.modules.ema import EMA``.
"""

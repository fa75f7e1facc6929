"""Losses: pure functions of tensors, one file each, in their authors' reduction and scale.

They compute in float32 or better, also under autocast. Where a loss looks at other ranks, that is
an explicit argument, and gradients averaged over ranks equal those of one process with the whole
batch.
Import a loss from its file: ``from sslight.losses.nt_xent import nt_xent``.
"""

"""Benchmarks: ``python -m jaxmg bench SUITE.yaml``.

A suite lists cases (`suite`). The runner (`runner`) measures each case with the routine itself
(`routines`) and with its baselines (`baselines`) in the same run, turn by turn, and checks every
series' residual. Baselines that are programs of their own run before (`programs`). What comes out
is a record (`record`, schema.json); tables are made of it (`report`).
"""

from .runner import run_suite as run_suite
from .suite import Case as Case
from .suite import Suite as Suite
from .suite import load_suite as load_suite

"""Benchmarks: ``python -m jaxmg bench SUITE`` (`command`).

A suite lists cases (`suite`). The runner (`runner`) measures each case, on a matrix of its own
(`matrices`), with the routine itself (`routines`) and with its baselines (`baselines`) in the same
run, turn by turn, and checks the residual of every series (`series`). Baselines that are programs
of their own (`programs`, `external`) run before. What comes out is a record (`record`,
schema.json); the rest is made of records: tables (`report`), pictures (`plot`), regressions
(`compare`).
"""

from .runner import run_suite as run_suite
from .suite import Case as Case
from .suite import Choices as Choices
from .suite import Suite as Suite
from .suite import load_suite as load_suite

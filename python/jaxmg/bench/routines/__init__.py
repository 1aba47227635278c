"""What can be measured. A further routine is one file here, and one line in `ROUTINES`."""

from ._routine import Problem as Problem
from ._routine import Routine as Routine
from .potrs import Potrs

ROUTINES: dict[str, Routine] = {"potrs": Potrs()}

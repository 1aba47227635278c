"""What can be measured. A further routine is one file here, and one line in `ROUTINES`."""

from ._routine import Consuming as Consuming
from ._routine import Problem as Problem
from ._routine import Routine as Routine
from .potrf import Potrf
from .potrs import Potrs

ROUTINES: dict[str, Routine] = {"potrf": Potrf(), "potrs": Potrs()}

"""What can be measured. A further routine is one file here, and one line in `ROUTINES`."""

from ._routine import Consuming as Consuming
from ._routine import Problem as Problem
from ._routine import Routine as Routine
from .cho_solve import ChoSolve
from .potrf import Potrf
from .potri import Potri
from .potrs import Potrs

ROUTINES: dict[str, Routine] = {
    "cho_solve": ChoSolve(),
    "potrf": Potrf(),
    "potri": Potri(),
    "potrs": Potrs(),
}

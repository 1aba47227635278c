"""What can be measured. A further routine is one file here, and one line in `ROUTINES`."""

from ._routine import OnFresh as OnFresh
from ._routine import Problem as Problem
from ._routine import Routine as Routine
from ._routine import Timed as Timed
from ._routine import timed as timed
from .cho_solve import ChoSolve
from .potrf import Potrf
from .potri import Potri
from .potrs import Potrs
from .syevd import Syevd

ROUTINES: dict[str, Routine] = {
    "cho_solve": ChoSolve(),
    "potrf": Potrf(),
    "potri": Potri(),
    "potrs": Potrs(),
    "syevd": Syevd(),
}

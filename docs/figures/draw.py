"""Draws the pictures of docs/: the paper's figures 1 and 2 for this code's layout and modes.

    python docs/figures/draw.py

Plain SVG, so that a change shows in git as what it is; a test checks that the files are up to date.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

from jaxmg._cyclic import cyclic_order

HERE = Path(__file__).parent
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44")  # by rank; Paul Tol's bright scheme
GREY = "#777777"


class Picture:
    """An SVG file, element by element."""

    def __init__(self, width: int, height: int) -> None:
        self._size = width, height
        self._elements: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = "white"
    ) -> None:
        self._elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" '
            f'fill="{fill}" stroke="{edge}"/>'
        )

    def text(
        self, x: float, y: float, words: str, size: int = 13, fill: str = "black", at: str = "start"
    ) -> None:
        self._elements.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{at}">'
            f"{words}</text>"
        )

    def arrow(self, x: float, y: float, to_x: float, to_y: float, colour: str = GREY) -> None:
        self._elements.append(
            f'<line x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke="{colour}" '
            'stroke-width="1.5" marker-end="url(#head)"/>'
        )

    def save(self, name: str) -> None:
        (HERE / name).write_text(self.svg(), encoding="utf-8")

    def svg(self) -> str:
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif">\n'
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
            f'markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker>'
            "</defs>\n"
            f'<rect width="{width}" height="{height}" fill="white"/>\n'
        )
        return head + "\n".join(self._elements) + "\n</svg>\n"


# ---- Figure 1: the layout ------------------------------------------------------------------------


def runs(owners: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(first column, width, rank) of neighbouring columns of one rank and one tile."""
    for (rank, _), group in itertools.groupby(range(len(owners)), lambda j: owners[j]):
        columns = list(group)
        yield columns[0], len(columns), rank


def layout(n: int = 44, ranks: int = 4, tile: int = 4) -> Picture:
    """Which rank holds which column of M: as JAX shards A, at work, and in memory."""
    n_loc = n // ranks
    order = cyclic_order(n, ranks, tile)  # storage, rank by rank: the columns that lie there
    at = {int(column): place for place, column in enumerate(order)}
    block = [(j // n_loc, 0) for j in range(n)]
    cyclic = [(at[j] // n_loc, at[j] % n_loc // tile) for j in range(n)]
    stored = [(place // n_loc, int(column) // (tile * ranks)) for place, column in enumerate(order)]
    width, left, height = 15.0, 20.0, 56.0
    rest = n_loc % tile
    picture = Picture(int(n * width + 2 * left), 400)
    strips = (
        (
            f"As it comes: rank p has rows {n_loc} p to {n_loc} p + {n_loc - 1} of A, columns of M",
            block,
            range(n),
        ),
        (
            f"At work: 1-D block-cyclic columns, T_A = {tile}; the last round has tiles of {rest}, "
            "and nothing is padded",
            cyclic,
            range(n),
        ),
        (f"In the memory of each rank: {n_loc} columns, before and after", stored, order),
    )
    for strip, (title, owners, columns) in enumerate(strips):
        y = 34 + 140 * strip
        picture.text(left, y - 10, title)
        for first, count, rank in runs(owners):
            x = left + first * width
            picture.box(x, y, count * width, height, COLOURS[rank])
            picture.text(x + count * width / 2, y + 34, str(rank), 15, "white", "middle")
        for place, column in enumerate(columns):
            x = left + (place + 0.5) * width
            picture.text(x, y + height + 12, str(int(column)), 8, GREY, "middle")
        if strip:
            picture.arrow(left + 60, y - 54, left + 60, y - 28)
    for strip, note in enumerate(
        (
            "tiles of T_A neighbouring columns are dealt to the ranks in turn",
            "A is kept: each rank pulls its tiles. Donated: cycles of tiles, two staging tiles",
        ),
        1,
    ):
        picture.text(left + 74, 34 + 140 * strip - 37, note, 12, GREY)
    return picture


# ---- Figure 2: the modes -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Mode:
    """What differs between them."""

    title: str
    meeting: str  # how the ranks of a call find each other
    thread: str  # what runs a rank's program
    telling: str  # how ranks tell each other where data is
    device: str
    queues: str
    copies: str
    note: str
    processes: bool = False  # one each, else one for all


MODES = (
    Mode(
        title="GPUs of one process",
        meeting="rendezvous: who belongs to this call",
        thread="XLA's launch thread",
        telling="mailbox: under a tag, where data is and which event it follows",
        device="GPU",
        queues="four streams",
        copies="peer copies, each pulled by the rank that needs it",
        note="every rank enqueues for its own device",
    ),
    Mode(
        title="CPU devices of one process",
        meeting="rendezvous: who belongs to this call",
        thread="a thread of the job",
        telling="mailbox: under a tag, where data is and which event it follows",
        device="CPU",
        queues="four queues",
        copies="copies within the memory of the process",
        note="workers run what is ready: one a core, or one BLAS with all cores",
    ),
    Mode(
        title="CPU devices, a process each",
        meeting="a ticket, summed by XLA: who belongs to this call",
        thread="a thread of the job",
        telling="mailboxes: posts and events are told by sockets",
        device="CPU",
        queues="four queues",
        copies="through rings of shared memory, asked for by the rank that needs it",
        note="a process that ends is the end of its sockets: all others are told",
        processes=True,
    ),
    Mode(
        title="GPUs, a process each",
        meeting="the program's order: who belongs to this call",
        thread="XLA's launch thread",
        telling="mailboxes: posts by sockets, events as numbers in shared memory",
        device="GPU",
        queues="four streams",
        copies="through stations, memory of each GPU that the others map",
        note="all of it is enqueued: a call returns before its work is done",
        processes=True,
    ),
)


def modes(ranks: int = 4) -> Picture:
    """Who runs what, where the ranks' devices are in one process and where they are not."""
    picture = Picture(940, 850)
    for place, mode in enumerate(MODES):
        draw_mode(picture, mode, ranks, 20 + 460 * (place % 2), 20 + 410 * (place // 2))
    return picture


def draw_mode(picture: Picture, mode: Mode, ranks: int, x: float, y: float) -> None:
    picture.box(x, y, 440, 390, "#f6f6f6", GREY)
    picture.text(x + 12, y + 22, mode.title, 15)
    spaces = f"{ranks} address spaces" if mode.processes else "one address space"
    picture.text(x + 428, y + 22, spaces, 12, GREY, "end")
    for rank in range(ranks):
        left = x + 12 + 106 * rank
        middle = left + 49
        if mode.processes:
            picture.box(left - 3, y + 84, 104, 224, "#e4e4e4", GREY)
        picture.arrow(middle, y + 70, middle, y + 92)
        picture.box(left, y + 94, 98, 62, COLOURS[rank])
        picture.text(middle, y + 116, f"rank {rank}", 13, "white", "middle")
        picture.text(middle, y + 132, "the same program", 10, "white", "middle")
        picture.text(middle, y + 147, mode.thread, 9, "white", "middle")
        picture.arrow(middle, y + 156, middle, y + 178)
        picture.arrow(middle, y + 214, middle, y + 236)
        picture.box(left, y + 238, 98, 62, "white", COLOURS[rank])
        picture.text(middle, y + 258, f"{mode.device} {rank}", 13, COLOURS[rank], "middle")
        picture.text(middle, y + 274, mode.queues, 10, "black", "middle")
        picture.text(middle, y + 290, "shard, workspace", 10, "black", "middle")
        if rank + 1 < ranks:
            picture.arrow(middle + 53, y + 319, middle + 10, y + 319)
            picture.arrow(middle + 53, y + 319, middle + 96, y + 319)
    for below, words in ((36, mode.meeting), (180, mode.telling)):
        picture.box(x + 12, y + below, 416, 34, "white", GREY)
        picture.text(x + 220, y + below + 22, words, 13, at="middle")
    picture.text(x + 220, y + 345, mode.copies, 12, at="middle")
    picture.text(x + 220, y + 372, mode.note, 12, GREY, "middle")


PICTURES = {"layout.svg": layout, "modes.svg": modes}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        draw().save(name)

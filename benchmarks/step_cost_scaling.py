"""Time of an atom in boxes of one liquid from 200 to 2,000 atoms, neighbour lists included."""

from __future__ import annotations

from typing import Any

import torch
from step_cost_simulation import simulation
from step_cost_spans import Spans
from step_cost_systems import ani1x, ensemble, structure
from step_cost_turns import Contender, Took, take_turns

SIZES = (200, 500, 1000, 2000)


class Box:
    """Dynamics at 300 K of one box, and where its time went."""

    def __init__(self, atoms: int, steps: int) -> None:
        self.atoms, self.steps = atoms, steps
        self.run = simulation(ensemble(ani1x()), structure(atoms))
        self.turns: list[dict[str, float]] = []

    def turn(self) -> Took | None:
        """Make the steps of a turn."""
        with Spans() as spans:
            self.run.step(self.steps)
        self.turns.append(spans.seconds)
        return None


def scaling(threads: int, turns: int, steps: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Return microseconds of a step for each atom, means over all turns, and their spread."""
    torch.set_num_threads(threads)
    boxes = {str(n): Box(n, steps) for n in sizes}
    times = take_turns({n: Contender(box.turn, steps) for n, box in boxes.items()}, turns, warm=1)
    rows = []
    for name, box in boxes.items():
        kept = box.turns[1:]
        total = sum(sum(turn.values()) for turn in kept)
        lists = sum(turn["neighbours"] for turn in kept)
        made = turns * steps * box.atoms
        rows.append(
            {
                "atoms": box.atoms,
                "step_ms": total / (turns * steps) * 1e3,
                "us_per_atom": total / made * 1e6,
                "processor_us_per_atom": float(times[name].processor.mean() / box.atoms * 1e6),
                "us_per_atom_without_lists": (total - lists) / made * 1e6,
                "neighbours_share": lists / total,
            }
        )
    return {
        "threads": threads,
        "steps": turns * steps,
        "rows": rows,
        "spread": spread(rows, "us_per_atom"),
        "spread_processor": spread(rows, "processor_us_per_atom"),
        "spread_without_lists": spread(rows, "us_per_atom_without_lists"),
    }


def spread(rows: list[dict[str, Any]], key: str) -> float:
    """Return the largest over the smallest."""
    values = [row[key] for row in rows]
    return max(values) / min(values)

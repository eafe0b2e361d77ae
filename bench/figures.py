"""Samples to figures: median, p99, the ratio of two sides, and the table of it.

Not here: how samples are taken (``cases``).
"""

import statistics
from dataclasses import asdict, dataclass, field
from typing import Dict, List, Optional

DIRECTOR, THESPIAN = "director", "thespian"


@dataclass
class Samples:
    """What one side gave: numbers of one unit, and remarks (bytes of memory, losses)."""

    values: List[float] = field(default_factory=list)
    remarks: Dict[str, object] = field(default_factory=dict)

    def median(self) -> Optional[float]:
        return statistics.median(self.values) if self.values else None

    def p99(self) -> Optional[float]:
        """The sample below which 99 % lie; of few samples that is the worst one."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else None


@dataclass
class Figure:
    """One thing measured on one side or on both."""

    name: str
    unit: str
    sides: Dict[str, Samples]
    more_is_better: bool = False
    target: Optional[float] = None

    def ratio(self) -> Optional[float]:
        """How many times better Director is."""
        medians = [self.sides[s].median() if s in self.sides else None for s in _ORDER]
        if not all(medians):
            return None
        ours, theirs = medians
        return ours / theirs if self.more_is_better else theirs / ours

    def document(self) -> dict:
        sides = {}
        for side, samples in self.sides.items():
            summary = {"n": len(samples.values), "median": samples.median(), "p99": samples.p99()}
            sides[side] = dict(asdict(samples), **summary)
        return {
            "name": self.name,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "sides": sides,
            "ratio": self.ratio(),
            "target_ratio": self.target,
        }


_ORDER = (DIRECTOR, THESPIAN)
_HEAD = ("figure", "unit", "Director", "p99", "Thespian", "p99", "ratio", "target", "remarks")


def table(figures: List[Figure]) -> str:
    """A table in Markdown."""
    rows = [_HEAD, tuple("---" for _ in _HEAD)]
    rows += [_row(figure) for figure in figures]
    return "\n".join("| %s |" % " | ".join(row) for row in rows)


def _row(figure: Figure) -> tuple:
    cells, remarks = [], []
    for side in _ORDER:
        samples = figure.sides.get(side, Samples())
        cells += [_number(samples.median()), _number(samples.p99())]
        told = ", ".join("%s %s" % item for item in samples.remarks.items())
        if told:
            remarks.append("%s: %s" % (side.capitalize(), told))
    ratio, target = figure.ratio(), figure.target
    ratio_text = "-" if ratio is None else "%.3g" % ratio
    target_text = "-" if target is None else "%g" % target
    return (figure.name, figure.unit, *cells, ratio_text, target_text, "; ".join(remarks))


def _number(value: Optional[float]) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else "%.3g" % value

"""How figures are shown, and how they are judged by their goals."""

import math
import operator
import statistics

# The signs that stand before a goal, and what each means.
SIGNS = {"≤": operator.le, "≥": operator.ge}


def quantile(values: list[float], part: float) -> float:
    """The smallest of the values that no more than `1 - part` of all values exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * part) - 1)]


def shown(values: list[float], unit: str = "s", digits: int = 2) -> str:
    """Median, 99th percentile, maximum and number of the values."""
    parts = {"p50": statistics.median(values), "p99": quantile(values, 0.99), "max": max(values)}
    said = ", ".join(f"{name} {value:.{digits}f}" for name, value in parts.items())
    return f"{said} {unit} (n={len(values)})"


def judged(value: float, sign: str, goal: float, what: str = "", unit: str = "") -> str:
    """A goal, and whether the value has reached it."""
    words = [what, sign, f"{goal:g}", unit]
    verdict = "reached" if SIGNS[sign](value, goal) else "missed"
    return f"goal {' '.join(word for word in words if word)}: {verdict}"

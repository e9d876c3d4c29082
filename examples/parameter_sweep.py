"""Fit a model to measurements: scipy looks for the parameters, workers try them out.

    python examples/parameter_sweep.py                       measurements that are made up, with noise
    python examples/parameter_sweep.py --data decay.csv      two columns: time, value

`differential_evolution` tries a whole generation of parameters at once. It takes anything that works like `map`, so
the executor's own `map` will do. The model is a damped oscillation, integrated step by step.

Exit code 0: the parameters are those that one process finds (and those that the data was made with). 1: not so.
2: wrong arguments.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import sys
import time
from pathlib import Path

from executor import ProcessPoolExecutor

try:
    from scipy.optimize import OptimizeResult, differential_evolution
except ImportError:
    sys.exit("This example needs scipy: pip install scipy")

Points = list[tuple[float, float]]

TRUE = (4.0, 0.3, 2.0)  # stiffness, damping, first displacement
BOUNDS = [(0.5, 10.0), (0.0, 2.0), (0.1, 5.0)]


def model(parameters: tuple[float, ...], times: list[float]) -> list[float]:
    """Where the weight on the spring is at these times."""
    stiffness, damping, place = parameters
    speed = now = 0.0
    places = []
    for moment in times:
        steps = max(1, math.ceil((moment - now) / 0.01))
        step = (moment - now) / steps
        for _ in range(steps):
            speed -= step * (stiffness * place + damping * speed)
            place += step * speed
        now = moment
        places.append(place)
    return places


def misfit(parameters: tuple[float, ...], points: Points) -> float:
    """How far the model is from the measurements. In the workers."""
    places = model(parameters, [moment for moment, _ in points])
    return sum((place - value) ** 2 for place, (_, value) in zip(places, points, strict=True)) / len(points)


def make_up() -> Points:
    """Measurements of a weight with known parameters."""
    noise = random.Random(1)
    times = [number / 10 for number in range(1, 101)]
    return [(moment, place + noise.gauss(0, 0.02)) for moment, place in zip(times, model(TRUE, times), strict=True)]


def read(path: Path) -> Points:
    """Two columns, by time. Raises ValueError for anything else."""
    with path.open(newline="") as file:
        points = sorted((float(moment), float(value)) for moment, value in csv.reader(file))
    if not points:
        raise ValueError(f"{path} is empty")
    return points


def fit(points: Points, generations: int, workers: object) -> OptimizeResult:
    """The parameters that fit best. ``workers``: a map, or 1 for none."""
    return differential_evolution(
        misfit,
        BOUNDS,
        args=(points,),
        workers=workers,
        updating="deferred",  # of a whole generation at once, or there would be nothing to share out
        maxiter=generations,
        popsize=8,
        rng=random_generator(),
        polish=False,
    )


def random_generator() -> object:
    """The same for each fit, so that two can be compared."""
    import numpy as np

    return np.random.default_rng(1)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="a CSV file: time, value")
    parser.add_argument("--generations", type=int, default=30)
    parser.add_argument("--workers", type=int, help="worker processes (default: as many as there are cores)")
    options = parser.parse_args()
    try:
        options.points = make_up() if options.data is None else read(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options


def main() -> int:
    """Fit twice, and tell by the exit code whether it came to the same."""
    options = arguments()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.workers) as executor:
        found = fit(options.points, options.generations, executor.map)
    between = time.perf_counter()
    alone = fit(options.points, options.generations, 1)
    end = time.perf_counter()
    for name, value in zip(("stiffness", "damping", "first displacement"), found.x, strict=True):
        print(f"{name:<20}{value:8.4f}")
    print(f"{found.nfev:,} trials")
    print(f"in workers {between - start:.2f} s (their start included), in this process {end - between:.2f} s")
    same = bool((found.x == alone.x).all())
    near = options.data is not None or all(abs(a - b) < 0.1 for a, b in zip(found.x, TRUE, strict=True))
    return 0 if same and near else 1


if __name__ == "__main__":
    sys.exit(main())

"""Find the edges in a picture: workers read it from shared memory, and write the result there.

    python examples/numpy_shared.py                            a picture that is drawn for the purpose
    python examples/numpy_shared.py photo.pgm edges.pgm        any grey picture (binary PGM)

The picture and the result lie in two shared arrays. A task is a band of lines: only its two numbers are sent, not its
pixels, and nothing comes back. Each worker maps the arrays once, in the initializer.

Exit code 0: the result is the same as that of one process. 1: not so. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

from executor import ProcessPoolExecutor, as_completed

try:
    import numpy as np
except ImportError:
    sys.exit("This example needs numpy: pip install numpy")

picture: Any = None
edges: Any = None


# In the workers


def map_arrays(source: Any, target: Any, shape: tuple[int, int]) -> None:
    """The initializer: both arrays as they are, without a copy."""
    global picture, edges
    picture = np.frombuffer(source, np.uint8).reshape(shape)
    edges = np.frombuffer(target, np.uint8).reshape(shape)


def find_edges(band: tuple[int, int]) -> None:
    """Write the edges in these lines of the picture."""
    first, last = band
    edges[first:last] = sobel(picture, first, last)


def sobel(image: Any, first: int, last: int) -> Any:
    """How steeply the brightness changes at each point of some lines; beyond its border a picture goes on as there."""
    above, below = max(first - 1, 0), min(last + 1, len(image))
    pad = (first == 0, last == len(image))
    part = np.pad(image[above:below].astype(np.int32), (pad, (1, 1)), "edge")
    down = part[:-2] - part[2:]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    across = part[:-2] + 2 * part[1:-1] + part[2:]
    across = across[:, :-2] - across[:, 2:]
    return np.minimum(np.hypot(down, across) / 4, 255).astype(np.uint8)


# In the parent


def draw(height: int, width: int) -> Any:
    """Discs of several grey values, with some noise."""
    y, x = np.ogrid[:height, :width]
    image = np.full((height, width), 40.0)
    random = np.random.default_rng(1)
    for _ in range(30):
        middle, radius, grey = random.uniform((0, 0), (height, width)), random.uniform(20, 150), random.uniform(0, 255)
        image[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2] = grey
    return np.clip(image + random.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def read(path: Path) -> Any:
    """A binary PGM with one byte a point. Raises ValueError for anything else."""
    words = path.read_bytes().split(maxsplit=4)
    if len(words) < 5 or words[0] != b"P5" or words[3] != b"255":
        raise ValueError(f"{path} is no binary PGM with 255 grey values")
    width, height = int(words[1]), int(words[2])
    return np.frombuffer(path.read_bytes()[-width * height :], np.uint8).reshape(height, width)


def write(path: Path, image: Any) -> None:
    height, width = image.shape
    path.write_bytes(b"P5 %d %d 255\n" % (width, height) + image.tobytes())


def find_edges_in_workers(image: Any, workers: int | None, lines: int) -> Any:
    """The edges, found by several processes, each in a band of so many lines at a time."""
    context = multiprocessing.get_context("forkserver")
    source, target = context.RawArray("B", image.size), context.RawArray("B", image.size)
    np.frombuffer(source, np.uint8)[:] = image.ravel()
    height = len(image)
    bands = [(first, min(first + lines, height)) for first in range(0, height, lines)]
    with ProcessPoolExecutor(workers, initializer=map_arrays, initargs=(source, target, image.shape)) as executor:
        for done in as_completed([executor.submit(find_edges, band) for band in bands]):
            done.result()
    return np.frombuffer(target, np.uint8).reshape(image.shape)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("picture", nargs="?", type=Path, help="a binary PGM")
    parser.add_argument("result", nargs="?", type=Path, default=Path("edges.pgm"), help="default: edges.pgm")
    parser.add_argument("--workers", type=int, help="worker processes (default: as many as there are cores)")
    parser.add_argument("--lines", type=int, default=100, help="of a band")
    options = parser.parse_args()
    try:
        options.image = draw(1200, 1600) if options.picture is None else read(options.picture)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.lines < 1:
        parser.error("--lines must be at least 1")
    return options


def main() -> int:
    """Find the edges twice, write them down, and tell by the exit code whether it came to the same."""
    options = arguments()
    start = time.perf_counter()
    found = find_edges_in_workers(options.image, options.workers, options.lines)
    between = time.perf_counter()
    alone = sobel(options.image, 0, len(options.image))
    end = time.perf_counter()
    write(options.result, found)
    print(f"{options.image.shape[1]} x {options.image.shape[0]} points, edges in {options.result}")
    print(f"in workers {between - start:.2f} s (their start included), in this process {end - between:.2f} s")
    return 0 if np.array_equal(found, alone) else 1


if __name__ == "__main__":
    sys.exit(main())

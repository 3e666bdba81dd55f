"""Geography of the map: Mercator coordinates around the network's own centre, and the country outlines that lie in view.

The outlines are Natural Earth's (public domain, 1:50 million) as TopoJSON: ``countries-50m.json`` of the package
world-atlas 2.0.2 (ISC licence, in ``world-LICENSE.txt``), compressed. They are cut to the view here, so that the page carries only what it shows and nothing is fetched.
"""

import functools
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

MOST_NORTH = 84.0
"""Degrees of latitude beyond which Mercator is cut."""
LEAST_SPAN = 3.0
"""Degrees that a view spans at least."""
WIDEST, TALLEST = 2.6, 0.6
"""Width over height of the frames that the outlines must fill."""
DETAIL = 1200
"""Cells of the longer side of a view, finer than which no detail is kept."""

Ring = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The part of the plane that holds the network: x is degrees of longitude, y Mercator degrees."""

    centre_lon: float
    left: float
    right: float
    bottom: float
    top: float

    def place(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (x, y) of places; longitudes are taken within 180 degrees of the view's centre."""
        x = self.centre_lon + (np.asarray(lon, float) - self.centre_lon + 180) % 360 - 180
        return x, mercator(np.asarray(lat, float))


def mercator(lat: np.ndarray) -> np.ndarray:
    """Mercator's y, in degrees: ``asinh(tan(lat))``."""
    return np.asarray(np.degrees(np.arcsinh(np.tan(np.radians(np.clip(lat, -MOST_NORTH, MOST_NORTH))))))


def fit_view(lat: np.ndarray, lon: np.ndarray, margin: float = 0.1) -> View:
    """The smallest view of all places and a margin; it is cut opposite the widest gap of longitudes, so it may cross the date line.

    Parameters
    ----------
    lat, lon
        (P,) degrees, at least one place.
    margin
        Share of the span that is added at every side.
    """
    around = np.sort(np.asarray(lon, float) % 360)
    gaps = np.diff(np.append(around, around[0] + 360))
    start = around[(int(np.argmax(gaps)) + 1) % len(around)]
    span = 360 - float(gaps.max())
    centre = (start + span / 2 + 180) % 360 - 180
    view = View(centre_lon=float(centre), left=0, right=0, bottom=0, top=0)
    x, y = view.place(lat, lon)
    left, right = _widen(float(x.min()), float(x.max()), margin)
    bottom, top = _widen(float(y.min()), float(y.max()), margin)
    return View(centre_lon=float(centre), left=left, right=right, bottom=bottom, top=top)


def outlines(view: View) -> dict[str, object]:
    """GeoJSON of the countries around a view, in its coordinates.

    They reach beyond the view so far that a frame of any usual shape, wide or tall, is filled; details that no frame can show are left out.
    """
    wide, high = view.right - view.left, view.top - view.bottom
    x, y = (view.left + view.right) / 2, (view.bottom + view.top) / 2
    half_wide, half_high = max(wide, WIDEST * high) / 2, max(high, wide / TALLEST) / 2
    box = (x - half_wide, y - half_high, x + half_wide, y + half_high)
    step = max(wide, high) / DETAIL
    polygons: list[list[list[tuple[float, float]]]] = []
    for rings in _countries():
        for shift in (-360.0, 0.0, 360.0):
            cut = [_thin(clip(ring, box, shift), step) for ring in rings]
            if len(cut[0]) > 3:
                polygons.append([ring for ring in cut if len(ring) > 3])
    return {"type": "Feature", "properties": {}, "geometry": {"type": "MultiPolygon", "coordinates": polygons}}


def clip(ring: Ring, box: tuple[float, float, float, float], shift: float = 0.0) -> Ring:
    """Cut a closed ring to a rectangle (left, bottom, right, top), after moving it by ``shift`` along x.

    References
    ----------
    Sutherland, Hodgman: Reentrant polygon clipping. Communications of the ACM 17(1), 1974.
    """
    left, bottom, right, top = box
    points = [(x + shift, y) for x, y in ring]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if max(xs) < left or min(xs) > right or max(ys) < bottom or min(ys) > top:
        return []
    for axis, limit, sign in ((0, left, 1), (0, right, -1), (1, bottom, 1), (1, top, -1)):
        kept: Ring = []
        for before, point in zip([points[-1], *points[:-1]], points, strict=True):
            inside, was_inside = sign * point[axis] >= sign * limit, sign * before[axis] >= sign * limit
            if inside != was_inside:
                part = (limit - before[axis]) / (point[axis] - before[axis])
                kept.append((before[0] + part * (point[0] - before[0]), before[1] + part * (point[1] - before[1])))
            if inside:
                kept.append(point)
        if not kept:
            return []
        points = kept
    return [*points, points[0]] if points[0] != points[-1] else points


@functools.cache
def _countries() -> list[list[Ring]]:
    """Every polygon of the world file as rings of Mercator coordinates."""
    world = json.loads(gzip.decompress((resources.files("cdn.report") / "world.json.gz").read_bytes()))
    scale, move = np.array(world["transform"]["scale"]), np.array(world["transform"]["translate"])
    arcs = []
    for arc in world["arcs"]:
        lonlat = np.cumsum(np.array(arc), axis=0) * scale + move
        arcs.append(np.column_stack([lonlat[:, 0], mercator(lonlat[:, 1])]))

    def ring(indices: Sequence[int]) -> Ring:
        parts = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
        joined = np.concatenate([parts[0], *(p[1:] for p in parts[1:])])
        return _unrolled(joined[:, 0], joined[:, 1])

    found: list[list[Ring]] = []
    for country in world["objects"]["countries"]["geometries"]:
        polygons = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        found += [[ring(indices) for indices in polygon] for polygon in polygons]
    return found


def _unrolled(x: np.ndarray, y: np.ndarray) -> Ring:
    """A closed ring without jumps at the date line, its middle within 180 degrees; one around a pole is closed along the edge there."""
    x = np.unwrap(x, period=360)
    if abs(x[-1] - x[0]) > 180:
        edge = np.copysign(float(mercator(np.array(90.0))), y.mean())
        x, y = np.concatenate([x, [x[-1], x[0], x[0]]]), np.concatenate([y, [edge, edge, y[0]]])
    x -= 360 * np.round((x.min() + x.max()) / 720)
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _thin(ring: Ring, step: float) -> Ring:
    """Rounded to a part of ``step``, one point for all that lie in the same cell of that size on the way."""
    digits = max(0, int(np.ceil(-np.log10(step))))
    cells = [(round(x / step), round(y / step)) for x, y in ring]
    return [(round(x, digits), round(y, digits)) for i, (x, y) in enumerate(ring) if i == 0 or cells[i] != cells[i - 1]]


def _widen(low: float, high: float, margin: float) -> tuple[float, float]:
    spare = max(0.0, LEAST_SPAN - (high - low)) / 2 + margin * max(high - low, LEAST_SPAN)
    return low - spare, high + spare

"""Depth of generated drives with a car removed or a wall put in."""

import dataclasses

import numpy as np

from depthformer_core.synthetic.rendering.render import trace
from depthformer_core.synthetic.scene.cast import FACETS
from depthformer_core.synthetic.scene.solids import Material

RATE = 10.0


def exact_depth(drive, frame, *, without=()):
    """Depth of a frame, without some of the scene's bodies, and the numbers of bodies seen."""
    scene = drive.scene

    class Reduced:
        def __getattr__(self, name):
            return getattr(scene, name)

        def solids(self, time=None):
            """Return the bodies, some of them underground: leaves depend on their number."""
            solids = scene.solids(time)
            sunk = np.zeros((len(solids), 3))
            sunk[list(without), 1] = 1000.0
            return dataclasses.replace(
                solids,
                origin=solids.origin + sunk,
                corners=solids.corners + sunk[:, None],
                offsets=solids.offsets + (solids.normals @ sunk[:, :, None])[:, :, 0],
            )

    view = trace(Reduced(), drive.camera, drive.pose(frame), time=frame / RATE)
    with np.errstate(divide="ignore"):
        return (1 / view.hits.nearness).astype(np.float32), view


def cars(drive, frame, view):
    """Bodies of each car that is well seen within 20 m, by its nearest depth."""
    solids = drive.scene.solids(frame / RATE)
    number = np.where(view.hits.face >= 0, view.hits.face // FACETS, -1)
    found = []
    for origin in np.unique(solids.origin[solids.material == Material.BODYWORK], axis=0):
        bodies = np.flatnonzero((solids.origin == origin).all(axis=1))
        nearness = view.hits.nearness[np.isin(number, bodies)]
        if len(nearness) > 0.003 * number.size and nearness.max() > 1 / 20:
            found.append((1 / nearness.max(), bodies))
    return [bodies for _, bodies in sorted(found, key=lambda car: car[0])]


def with_wall(depth, camera, distance, *, left=0.35, right=0.65):
    """A wall from the ground to the horizon and above, in front of what is farther."""
    wall = depth.copy()
    columns = slice(int(left * camera.width), int(right * camera.width))
    wall[camera.height // 3 :, columns] = np.minimum(wall[camera.height // 3 :, columns], distance)
    return wall

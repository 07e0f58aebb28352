"""Sun, sky and the camera's own marks on a picture."""

from dataclasses import dataclass

import numpy as np

from depthformer_core.types import FloatingArray


@dataclass(frozen=True)
class Atmosphere:
    """Light and weather of a scene; colours are linear.

    Attributes:
        sun: (3,), unit, the direction of the light in the world.
        sunlight: (3,), what a surface that faces the sun receives from it.
        ambient: (3,), what it receives from the sky.
        zenith: (3,), colour of the sky above.
        horizon: (3,), colour of the sky low down, and of the haze.
        visibility: Distance at which haze reduces a colour to 37 %, metres.
        clouds: Cover, 0 to 1.
        drift: (2,), where in the tile of noise the clouds begin.
        hills: Height of the backdrop, as a slope.
        backdrop: (3,), its colour.
    """

    sun: FloatingArray
    sunlight: FloatingArray
    ambient: FloatingArray
    zenith: FloatingArray
    horizon: FloatingArray
    visibility: float
    clouds: float
    drift: FloatingArray
    hills: float
    backdrop: FloatingArray

    @staticmethod
    def draw(rng: np.random.Generator) -> "Atmosphere":
        """Draw weather and time of day."""
        overcast = rng.random() < 0.3
        elevation = np.deg2rad(rng.uniform(18.0, 62.0))
        azimuth = rng.uniform(0, 2 * np.pi)
        if overcast:
            elevation = np.deg2rad(rng.uniform(65.0, 88.0))
        flat = np.cos(elevation)
        sun = np.array([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)])
        warmth = np.clip((np.deg2rad(50) - elevation) / np.deg2rad(40), 0, 1)
        light = np.array((1.0, 0.96 - 0.10 * warmth, 0.88 - 0.25 * warmth))
        if overcast:
            sunlight = light * rng.uniform(0.12, 0.30)
            ambient = np.array((0.66, 0.69, 0.74)) * rng.uniform(0.75, 1.1)
            grey = rng.uniform(0.55, 0.95)
            zenith = np.array((0.66, 0.70, 0.76)) * grey
            horizon = np.array((0.78, 0.80, 0.82)) * grey
        else:
            sunlight = light * rng.uniform(0.75, 1.2)
            ambient = np.array((0.27, 0.31, 0.38)) * rng.uniform(0.7, 1.3)
            blue = rng.uniform(0.0, 1.0)
            zenith = (1 - blue) * np.array((0.22, 0.38, 0.72)) + blue * np.array((0.40, 0.58, 0.85))
            horizon = np.array((0.72, 0.80, 0.88)) * rng.uniform(0.8, 1.1)
        return Atmosphere(
            sun=sun,
            sunlight=sunlight,
            ambient=ambient,
            zenith=zenith,
            horizon=horizon,
            visibility=float(np.exp(rng.uniform(np.log(260), np.log(2500)))),
            clouds=float(rng.uniform(0.7, 1.0) if overcast else rng.uniform(0.0, 0.75)),
            drift=rng.uniform(0, 512, 2),
            hills=float(rng.choice((0.0, 0.02, 0.05), p=(0.35, 0.4, 0.25)) * rng.uniform(0.5, 1.5)),
            backdrop=np.array((0.10, 0.15, 0.10)) * rng.uniform(0.6, 1.6),
        )


@dataclass(frozen=True)
class Lens:
    """Camera effects on a picture.

    Attributes:
        exposure: Factor on all light.
        balance: (3,), factors on red, green and blue.
        blur: Standard deviation, pixels.
        noise: Standard deviation, in steps of 8 bits.
        vignette: Share of light that is lost in the corners.
        contrast: Strength of the tone curve, 0 to 1.
    """

    exposure: float
    balance: FloatingArray
    blur: float
    noise: float
    vignette: float
    contrast: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Lens":
        """Draw a camera."""
        return Lens(
            exposure=float(np.exp(rng.normal(0.15, 0.28))),
            balance=np.exp(rng.normal(0, 0.04, 3)),
            blur=float(rng.uniform(0.45, 0.8)),
            noise=float(rng.uniform(0.5, 4.0)),
            vignette=float(rng.uniform(0.0, 0.25)),
            contrast=float(rng.uniform(0.0, 0.7)),
        )

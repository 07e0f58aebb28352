"""The choice of a correction on parts of a drive that it was not fitted to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from depthformer_core.calibration.correction import DepthCorrection
from depthformer_core.calibration.fit import Shape, fit_correction, quantiles
from depthformer_core.calibration.samples import Array, Samples

Interval = tuple[float, float]

FEWEST_BLOCKS = 3
"""Blocks that a choice needs; in fewer, nothing can be held out and compared."""

_RESAMPLES = 2000
_REFITS = 100
_SEED = 0
# Three corrections are tried, and a few blocks vary less than their bootstrap says: 99 %.
_CHANCE = (0.005, 0.995)
_QUANTILES = (0.025, 0.975)
# A network is off by some per cent in each drive, one way or the other. A correction must gain this
# share of AbsRel, and at least so much of it, or change half of the depths by more than the last.
_LEAST_GAIN = 0.2
_LEAST_ERROR = 0.005
_LEAST_CHANGE = 0.08
# A richer correction may cost this share of the error, which is noise, for less bias.
_TIE = 0.03
# Share of the resamples that a correction must be found in.
_FEWEST_FITS = 0.95
_MOST_REFITTED = 2000  # samples


@dataclass(frozen=True)
class Trial:
    """A correction, tried on the blocks that it was not fitted to.

    Attributes:
        name: Name of the kind of correction; `none` for depth as it is.
        abs_rel: Mean AbsRel of the held-out blocks.
        log_error: Mean absolute difference of the logarithms there.
        gain: 99 % interval by which AbsRel is smaller than that of `none`; NaN where unknown.
        verdict: Why it was not taken; empty where it was.
    """

    name: str
    abs_rel: float
    log_error: float
    gain: Interval
    verdict: str


@dataclass(frozen=True)
class Choice:
    """The correction that helps most beyond chance, if one does.

    Attributes:
        correction: Fitted to all samples; None where none helps.
        interval: 95 % interval of the corrected depth of each knot.
        trials: What was tried, in order, first `none`.
        taken: Name of the chosen trial; `none` where none helps.
        in_sample: Whether the errors are of what was fitted, as nothing could be held out.
    """

    correction: DepthCorrection | None
    interval: tuple[Interval, ...]
    trials: tuple[Trial, ...]
    taken: str
    in_sample: bool = False

    @property
    def before(self) -> Trial:
        """Depth as it is."""
        return self.trials[0]

    @property
    def after(self) -> Trial:
        """The chosen trial."""
        return next(trial for trial in self.trials if trial.name == self.taken)


def choose_correction(samples: Samples, candidates: Mapping[str, Shape]) -> Choice:
    """Choose a correction by its error on blocks of the drive that it was not fitted to.

    Each block is corrected by what was fitted to the others. The first candidate is taken whose
    held-out AbsRel is smaller than without a correction beyond chance (a bootstrap of the blocks),
    and whose absolute error of the logarithm is too, since AbsRel alone favours depth that is too
    near; unless it is too small to be more than a property of the drive. One after it replaces it
    if its AbsRel is smaller by a fifth, or if it is a line that differs beyond chance, and whose
    errors are not larger than noise makes them.

    Args:
        samples: The samples, of `FEWEST_BLOCKS` blocks or more.
        candidates: The shapes by their names, the simplest first.
    """
    weight = _sums(samples, np.ones(len(samples.true)))
    drawn = _draws(samples.blocks, _RESAMPLES)
    none = _errors(samples, samples.predicted)
    trials = [Trial("none", *_means(none, weight), (np.nan, np.nan), "")]
    taken, best = "none", trials[0]
    for name, shape in candidates.items():
        held_out = _held_out(samples, shape)
        if held_out is None:
            trials.append(Trial(name, *(np.nan, np.nan), (np.nan, np.nan), "it would not rise"))
            continue
        errors = _errors(samples, held_out)
        gains = (drawn @ (none - errors)) / (drawn @ weight)[:, None]
        low, high = np.quantile(gains, _CHANCE, axis=0)
        abs_rel, log_error = _means(errors, weight)
        needed = best.abs_rel - max(_LEAST_GAIN * best.abs_rel, _LEAST_ERROR)
        if (low <= 0).any():
            verdict = "no better beyond chance"
        elif taken == "none":
            moved = quantiles(np.abs(held_out / samples.predicted - 1), samples.weight, (0.5,))[0]
            small = abs_rel > needed and moved < _LEAST_CHANGE
            verdict = "too small: it may be of this drive alone" if small else ""
        elif abs_rel > needed and (
            shape.kind == "curve"
            or abs_rel > (1 + _TIE) * best.abs_rel
            or log_error > (1 + _TIE) * best.log_error
            or not _differs(samples, shape, candidates[taken])
        ):
            verdict = f"no better than {taken}"
        else:
            verdict = ""
        trial = Trial(name, abs_rel, log_error, (float(low[0]), float(high[0])), verdict)
        trials.append(trial)
        if not verdict:
            taken, best = name, trial
    if taken == "none":
        return Choice(None, (), tuple(trials), taken)
    correction = fit_correction(samples, candidates[taken])
    assert correction is not None
    interval = _interval(samples, candidates[taken], correction)
    return Choice(correction, interval, tuple(trials), taken)


def _held_out(samples: Samples, shape: Shape) -> Array | None:
    """Correct each block by a fit to the others; None where one, or that to all, does not rise."""
    if fit_correction(samples, shape) is None:
        return None
    corrected = np.empty_like(samples.predicted)
    for block in range(samples.blocks):
        inside = samples.block == block
        fitted = fit_correction(samples.part(~inside), shape)
        if fitted is None:
            return None
        corrected[inside] = fitted.apply(samples.predicted[inside].astype(np.float32))
    return corrected


def _errors(samples: Samples, predicted: Array) -> Array:
    """Return weighted sums of AbsRel and of the error of the logarithm of each block, (B, 2)."""
    ratio = predicted / samples.true
    relative, logarithm = np.abs(ratio - 1), np.abs(np.log(ratio))
    return np.stack((_sums(samples, relative), _sums(samples, logarithm)), axis=1)


def _sums(samples: Samples, values: Array) -> Array:
    sums = np.bincount(samples.block, samples.weight * values, minlength=samples.blocks)
    return sums.astype(np.float64)


def _means(errors: Array, weight: Array) -> tuple[float, float]:
    abs_rel, log_error = errors.sum(axis=0) / weight.sum()
    return float(abs_rel), float(log_error)


def _differs(samples: Samples, shape: Shape, other: Shape) -> bool:
    """Return whether a correction differs from another one at a knot, beyond chance."""
    whole = fit_correction(samples, shape)
    assert whole is not None
    given = np.array(whole.predicted, np.float32)
    ratios = []
    samples = _thinned(samples)
    for counts in _draws(samples.blocks, _REFITS):
        drawn = samples.weighted(counts)
        first, second = fit_correction(drawn, shape), fit_correction(drawn, other)
        if first is not None and second is not None:
            ratios.append(first.apply(given) / second.apply(given))
    if len(ratios) < _FEWEST_FITS * _REFITS:
        return False
    low, high = np.quantile(ratios, _CHANCE, axis=0)
    return bool(((low > 1) | (high < 1)).any())


def _interval(samples: Samples, shape: Shape, correction: DepthCorrection) -> tuple[Interval, ...]:
    """Return the bootstrap interval of the corrected depth at each knot of a correction."""
    samples = _thinned(samples)
    given = np.array(correction.predicted, np.float32)
    fits = [
        fit_correction(samples.weighted(counts), shape)
        for counts in _draws(samples.blocks, _REFITS)
    ]
    values = [fit.apply(given) for fit in (correction, *fits) if fit is not None]
    low, high = np.quantile(values, _QUANTILES, axis=0)
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _thinned(samples: Samples) -> Samples:
    """Return evenly chosen samples, few enough for many fits."""
    step = -(-len(samples.true) // _MOST_REFITTED)
    return samples.part(np.arange(len(samples.true)) % step == 0)


def _draws(blocks: int, count: int) -> Array:
    """Draw blocks with replacement; return how often each was drawn, (count, blocks)."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=count).astype(np.float64)

"""What each metric means, in words."""

MEANINGS = {
    "a1": "share of pixels within a factor of 1.25 of the truth",
    "a2": "within a factor of 1.25² = 1.56",
    "a3": "within a factor of 1.25³ = 1.95",
    "abs_rel": "mean of |error| / truth",
    "rmse": "root mean square error, metres",
    "log_10": "mean of |log10 prediction - log10 truth|",
    "rmse_log": "root mean square of ln prediction - ln truth",
    "silog": "100 times the standard deviation of ln prediction - ln truth; blind to scale",
    "sq_rel": "mean of error² / truth, metres",
    "sq_error_rel": "mean of (error / truth)², percent",
    "abs_error_rel": "mean of |error| / truth, percent",
    "irmse": "root mean square error of inverse depth, 1/km",
}

_HIGHER_IS_BETTER = ("a1", "a2", "a3")


def better(metric: str) -> str:
    """Say whether `higher` or `lower` values of a metric are better."""
    return "higher" if metric in _HIGHER_IS_BETTER else "lower"

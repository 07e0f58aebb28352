"""Depth compared with the truth: metrics, protocols, reports, submissions."""

from depthformer_core.evaluation.evaluate import Evaluation, evaluate, evaluate_frame
from depthformer_core.evaluation.metrics import METRICS
from depthformer_core.evaluation.protocol import PROTOCOLS, Protocol

__all__ = ["evaluate", "evaluate_frame", "Evaluation", "Protocol", "PROTOCOLS", "METRICS"]

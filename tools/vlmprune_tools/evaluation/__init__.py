"""Accuracy against pruning rate: one bundle or checkpoint, many pruners and rates, the same questions for all.

Letters: N visual tokens of one image, K kept of them, D hidden width, B bootstrap resamples, M pruning configs
(one pruner at one rate, or the unpruned model), I items (questions).
"""

from vlmprune_tools.evaluation.run_evaluation import EvaluationRequest, evaluate

__all__ = ["EvaluationRequest", "evaluate"]

"""Where lmms-eval looks for models: `LMMS_EVAL_PLUGINS=vlmprune_tools.evaluation`."""

AVAILABLE_MODELS = {"vlmprune": "VlmPrune"}

"""Training of the default model's own part: scenes, features, projector and low-rank update, evaluation.

`python -m vlmprune_tools.pocket --help` lists the steps. Letters: B scenes in a batch, T tokens, N visual
tokens, F width of the vision features (768), D width of the language model (576).
"""

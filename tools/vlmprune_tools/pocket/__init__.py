"""The accuracy of the default model `pocket`: `python -m vlmprune_tools.pocket evaluate`.

`vlmprune_export.pocket_model` assembles the model; `tools/pocket_training` in the repository trains its own part.
"""

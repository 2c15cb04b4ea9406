"""The training recipe of the default model's own part; README.md beside this file says how to replay it.

Letters: B images in a batch, N visual tokens (patches) of one, T tokens of a row, F width of the vision features
(768), D width of the language model (576).
"""

"""Synthetic images and their questions: scenes of emoji artwork, signs to read, easy-VQA and sample photos.

Training of the default model `pocket`, its accuracy and `vlmprune-eval` share them. What is in an image is known, so
every question has one right answer. Letters: N patches of an image, which are its visual tokens.
"""

"""What the tests of the evaluation ask."""

QUESTIONS = ("what is in the picture ?", "is the dog left of the bus ?", "one or two ?")

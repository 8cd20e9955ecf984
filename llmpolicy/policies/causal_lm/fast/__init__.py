"""The speed of a language model: the same mathematics in less time; ``door`` says which way and why
not.
"""

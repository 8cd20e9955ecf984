"""Tools of a model's, each in one small file: to be named in a recipe, inherited or copied."""

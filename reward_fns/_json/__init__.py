"""JSON as a model writes it: a document, its schema, calls of tools."""

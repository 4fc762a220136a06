"""The steps behind `depth-adaptive prepare`: one module a subject."""

"""One module a dashboard, each with a function `board`."""

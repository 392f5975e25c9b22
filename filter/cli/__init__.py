"""The command ``winnow``: what it is told is parsed here; what it does stands elsewhere."""

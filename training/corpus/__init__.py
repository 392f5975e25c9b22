"""A labelled corpus: brought in from label tools, read, checked, split, made to grow."""

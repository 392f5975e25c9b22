"""Model directories: weights, ONNX files, the card, and what is checked before they are written."""

"""Making a model: corpus, injection, fine-tuning, evaluation, calibration, export."""

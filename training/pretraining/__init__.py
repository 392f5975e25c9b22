"""Pretraining a small encoder on raw prose, for those who have no hub."""

"""Networks and their vocabularies: loaded from a base, or new."""

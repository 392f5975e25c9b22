"""What a filter finds and what it loses, by character, in tables, files and reports."""

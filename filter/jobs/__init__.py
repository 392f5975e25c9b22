"""Whole corpora: shard in, shard out, resumable after any end.

A job takes input files (shards) to output files of the same names. A shard is read in parts, whose
borders depend on the input alone; a part is what is filtered, what is written and what is never
done twice. `plan` says what is to be done, `parts` reads it, `work` does a part, `finish` joins the
parts of a shard and keeps the books, and an executor (`local`, `gpu`, or Ray's) brings them
together.
"""

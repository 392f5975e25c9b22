"""`winnow benchmark`: how fast, beside whom, and how near to what the machine can do.

Every figure has its own small module: `measure` puts the rounds together, `arithmetic` and
`ceiling` say what the silicon could do, `clock` where the time goes, `peer` runs the stock
pipeline, `processes` what a process costs. What cannot be measured is left out, with its reason.
"""

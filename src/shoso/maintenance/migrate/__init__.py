"""`shoso migrate`: artifacts are brought from one place to another while runs go on writing.

renaming     what a recorded location becomes
book         what is known of objects that both places had in the same version
judging      which place has what was written last, by the book
ends         the two places, and what is copied and compared between them
remains      what is at the target without being at the source
moving       an experiment: copy, compare, rewrite its rows, bring what came too late
ending       `finish` and `rollback`
migration    which experiments, one after the other; what it came to

Every step may be killed and made again: what is copied is copied, rows are rewritten in one transaction, and
what is deleted has been compared before.
"""

"""Retention: which runs stay, by policies in a TOML file; the others are marked deleted, by a plan.

policies    what a policy file says
keeping     which runs of an experiment stay, and why
planning    which ones go, written down
applying    what is planned, and isn't kept by now, is marked
undoing     what a plan marked is active again
"""

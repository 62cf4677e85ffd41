"""Garbage collection: what is deleted goes for good, by a plan that can be looked at.

chosen      what goes, and what stays; guard what others need
contents    what is at a location, summed up
planning    both, written down
applying    what is planned, and hasn't changed since, goes
collecting  what is chosen goes at once, without a plan
owned       runs, models and experiments: artifacts first, then rows
litter      what has no row
account     what became of it all
trash       artifacts that were moved aside instead, brought back
"""

"""Trackers: other programs that are told of a run while it trains.

A tracker follows the run folder, in a process of its own: `following` starts it and pokes it after each epoch,
`__main__` is that process. So a server that is slow or gone takes nothing from the training, the tracker's library draws
no random number of it, and how a training ended is told even where it was killed.
"""

"""Trackers: other programs that record a run while it trains.

A tracker follows the run folder, in a separate process: `notify` starts it and notifies it after each epoch,
`__main__` is that process. So a server that is slow or absent does not delay the training, the tracker's library draws
none of its random numbers, and the end of a training is reported even where it was killed.
"""

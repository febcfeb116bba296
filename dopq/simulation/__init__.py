"""A trace of jobs through the very queue that the node runs, on a virtual clock."""

"""The boundary: the one way in from outside, guarded. Nothing else of the service listens anywhere."""

from dopq.boundary.entrance import Boundary

__all__ = ["Boundary"]

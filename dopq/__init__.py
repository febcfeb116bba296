"""DoPQ: a fair queue for a lab's GPU machines."""

__version__ = "2.0.0.dev0"

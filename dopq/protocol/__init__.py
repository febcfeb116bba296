"""Pyro5's wire protocol, as far as DoPQ speaks it: version 502, msgpack, plain data. Both ends are built from this."""

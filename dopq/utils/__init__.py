"""Leaves that have never heard of jobs. One file per thing."""

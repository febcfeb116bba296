"""Other nodes: the table that all nodes share, and (from a later issue on) its exchange between them."""

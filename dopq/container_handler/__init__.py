"""All that touches containers: the spec, untrusted bundles, images, running containers, and the engine behind them."""

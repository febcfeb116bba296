"""The users' tool of DoPQ, as a command (`dopq-client`) and as a Python class (`dopq_client.client.DopqClient`)."""

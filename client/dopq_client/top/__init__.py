"""`dopq-client top`: the five views of a node as one live screen.

Facts come from the remote API (`facts.py`, `feed.py`), pure view-models make lines of them (`running.py` and the other
views, on `table.py`, `bars.py`, `trends.py`), `picture.py` puts a screenful together, and a thin shell of textual shows
it (`app.py`, `watch.py` and what they import): nothing else of the client imports textual.
"""

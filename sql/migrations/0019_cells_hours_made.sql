-- Hours of the cells that are there; the store makes them in the background.
ALTER TABLE cells MATERIALIZE PROJECTION hours

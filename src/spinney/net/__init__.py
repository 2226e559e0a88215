"""The way out: what protocol code may ask of a machine, and the live machine itself."""

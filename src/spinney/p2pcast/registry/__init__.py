"""The registry: who is in which stream, over UDP; and a peer's side of it (paper, section 7).

node  desk  streams    one that listens; what it answers; its state
keeper  snapshot       the state on disk
tokens  witnesses      who may claim an address; who is believed about another's death
contacts  link         a peer's calls; the `spinney:` link of a stream
messages  codec  settings
"""

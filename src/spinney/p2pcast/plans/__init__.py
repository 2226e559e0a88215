"""What a change of the forest is, thought out from what was asked; nothing here sends anything.

Source: the P2PCast paper, sections 3 to 5.  Pure: generators yield whom they ask, are sent its
`Sight`, and return a `Plan`; `forest` is the model world that answers and applies them.
"""

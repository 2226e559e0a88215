"""Who is believed: names from keys, signed calls, chains of place tickets, rights.

identity  signing      a name is its key; calls are numbered and signed, and age
tickets  ticket_codec  papers    a place is granted by a parent, up to the source's root
rights  guard          who may ask for which change; one refusal for each reason
"""

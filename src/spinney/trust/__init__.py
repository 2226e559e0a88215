"""What is believed and why: Merkle trees here; keys, envelopes and scores join later."""

"""What is believed and why: Merkle trees, keys, signed envelopes, sealed boxes; scores later."""

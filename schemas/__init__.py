"""The shared words: every message, document and state layout, each defined once."""

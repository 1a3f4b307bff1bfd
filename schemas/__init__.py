"""Every shape that outlives a deploy: positions, topics, envelopes, tables. Imports nothing of ours."""

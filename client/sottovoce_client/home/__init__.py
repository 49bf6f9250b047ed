"""The label's home on disk: keys, policy, diary and pinned agreements."""

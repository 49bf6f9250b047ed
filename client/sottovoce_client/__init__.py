"""What runs at a label: catalogue, features, private training, masking, ledger."""

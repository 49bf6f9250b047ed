r"""What the client's commands do; \`label/\` and \`catalogue\` declare them."""

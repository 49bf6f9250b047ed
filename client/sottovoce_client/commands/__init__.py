r"""Commands of the client; \`label/\` and \`catalogue\` declare them."""

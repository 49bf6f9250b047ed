"""Identities, enrolments, the agreement, invitations and refusals."""

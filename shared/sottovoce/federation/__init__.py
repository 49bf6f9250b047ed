"""Who is bound to whom: identities, enrolments, the agreement, invitations and refusals."""

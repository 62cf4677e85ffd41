"""The server: routes, access, transfers. `app` composes it; importing a part of it imports no other."""

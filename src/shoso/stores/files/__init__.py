"""files: what stores over a remote file system share; no store itself, and it knows no protocol.

A driver keeps `FileSystem` (system.py), the few verbs of a file system; `FileStore` (store.py) makes a store
of it:

- bytes go to `.shoso/drafts/<random>` on the same root and get their name in one rename;
- folders are made on the way when they turn out to be missing, and those left empty are removed;
- parts are files below `.shoso/uploads/<id>`, joined when the upload is finished;
- what a killed process left behind is swept after a day.
"""

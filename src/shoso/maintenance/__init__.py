"""Work on whole stores: bringing in what another one holds, and keeping up what is there.

estate       a database, and the stores that hold what it records
fsck         whether what is recorded is there, and what is there is recorded
inventory    all objects of an estate, and what nobody refers to
plans        what would go, written down; gc makes and applies plans
retention    which runs stay, by policies; the others are marked deleted
filestore    an MLflow file store (`mlruns/`), read with suspicion
targets      where experiments, runs and models go: a Shoso server, or a database
importing    from the one to the other
artifacts    the files that go along
folder       a recorded location as a folder, whatever object has its name, too
"""

"""disk: what the stores over files of this machine share; no store itself.

Calls carried out in threads (`calls`), a file being read (`reading`), bytes on their way into a
file (`drafts`), parts that go to their place in one file (`places`), and room for a file (`space`).
"""

"""What is kept on disk: files that are whole or absent, entries named by content, the folder of a sweep.

Below codecs, domains and the engine: they hand in keys, names of files, and the functions that read and
make them. Nothing here imports torch, except `store.tensors`.
"""

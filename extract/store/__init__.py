"""Features on disk: content decides names, nothing is edited in place, one record commits.

    photos.features/
      store.json                      the recipe and the format, created once
      shards/<digest>.zshard|.h5      rows of one column, published whole; another name where that
                                      one was taken by other bytes
      commits/<digest>.json           what a shard holds: the commit point
      snapshots/000001.json           a sealed state, written last
      snapshots/000001.items.parquet  its items (000001.<8 digits>.items.parquet if that was taken)
      probes/                         raw images and their features, for parity reports
      bad_images.csv                  of the newest snapshot, a copy for people
      damaged/  tmp/

`files.py` knows how to write durably, `shards.py` what reading and writing rows promises,
`file_shards.py` keeps it through `zarr_shards.py` and `hdf5_shards.py`; `header.py`, `commits.py`
and `snapshots.py` are the records, and of two for one shard `acknowledging.py` tells the one that
counts; `reader.py` is how features and labels leave, `verify.py` what must hold of it all,
`setting_aside.py` moves what does not, `gc.py` says what may go.
"""

"""Locations on disks, web servers and object stores, and the transfer of bytes to and from them.

`paths` tells paths from URLs and offers the operations that both have; `files` has those of disks,
safe on every system, `url` those of URLs, through `remote`; `zarr_store` opens either for zarr;
`file_names` makes names safe and `csv_table` cells; `limited` reads no more than it may.
"""

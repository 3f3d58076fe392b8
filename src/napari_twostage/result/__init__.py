"""Result folders: everything that a run keeps on disk, and what the user changes in it.

`result.Result` opens a folder for everybody outside this package; `run_writer.RunWriter` is the
side that runs write to. The folder and the module that owns each part of it:

=======================  ==============================================================
``zarr.json``            the folder is a zarr group (`label_store`)
``record.json``          slide, model, parameters and runs (`record`)
``journal.jsonl``        events, one a line (`journal`, `journal_events`, `tile_log`);
                         ``journal/`` holds further parts, on object stores
``coarse/logits/``       logits of stage 1 (`label_store`)
``refined/``             labels of stage 2, as shards (`label_store`, `shards`)
``edits/``               labels that the user painted (`label_store`)
``overview/2/`` ...      coarser levels of the labels (`label_pyramid`)
``heat/``                uncertainty in small cells (`uncertainty_map`)
``tissue.npz``           tissue mask, and the tiles with tissue (`tile_scores`)
``statistics.npz``       scores of all tiles, once stage 1 is complete (`tile_scores`)
``undo/``                labels that each edit replaced (`edits`)
``pyramid/``             levels of a slide that has none (`slides.pyramid`)
``handover/``            pixels shared by workers, during a run (`distributed.messages`)
=======================  ==============================================================

`result_files` opens these parts together, `layout` holds the grids and sizes of all of them,
`zarr_chunks` reads and writes zarr arrays by file, and `folder_names` names the folders.
"""

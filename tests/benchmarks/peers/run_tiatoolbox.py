"""TIAToolbox's SemanticSegmentor over a whole slide; run by dense.py in TIAToolbox's interpreter.

Windows and their cores have the size and spacing of ours. It uses its own reader and its own zarr
output, saves no probabilities, and reads in its own process, as is its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dask.array as da


def main() -> None:
    """Let it read, infer, merge and write."""
    import numpy as np
    import torch
    import zarr
    from peer import Stopwatch, load_network, read_task, report
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
    from tiatoolbox.models.models_abc import ModelABC

    class Network(ModelABC):
        """Our network with TIAToolbox's interface: NHWC in, probabilities of two classes out."""

        def __init__(self, network: torch.jit.ScriptModule, halo: int) -> None:
            super().__init__()
            self.network = network
            self.halo = halo
            self.class_dict = {0: "background", 1: "nucleus"}

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images)

        @staticmethod
        def infer_batch(model: Network, batch_data: torch.Tensor, *, device: str) -> np.ndarray:
            images = batch_data.to(device).permute(0, 3, 1, 2)
            with torch.inference_mode():
                core = slice(model.halo, -model.halo or None)
                foreground = model(images).sigmoid()[:, 0, core, core]
            return torch.stack([1 - foreground, foreground], dim=-1).numpy()

        @staticmethod
        def postproc(image: da.Array) -> da.Array:
            return image.argmax(axis=-1).astype(np.uint8)

    task = read_task()
    network = Network(load_network(task), task.halo_px)
    resolutions = [{"units": "baseline", "resolution": 1.0}]
    settings = IOSegmentorConfig(
        input_resolutions=resolutions,
        output_resolutions=resolutions,
        patch_input_shape=(task.window_px, task.window_px),
        patch_output_shape=(task.tile_px, task.tile_px),
        stride_shape=(task.tile_px, task.tile_px),
    )
    segmentor = SemanticSegmentor(network, batch_size=task.batch, device="cpu", verbose=False)
    watch = Stopwatch()
    written = segmentor.run(
        [task.slide],
        ioconfig=settings,
        patch_mode=False,
        auto_get_mask=False,
        save_dir=f"{task.folder}/tiatoolbox",
        overwrite=True,
        output_type="zarr",
    )
    seconds = watch.read()
    labels = zarr.open(str(next(iter(written.values()))), mode="r")["predictions"]
    report(seconds, float(np.asarray(labels).mean()), "tiatoolbox")


if __name__ == "__main__":
    main()

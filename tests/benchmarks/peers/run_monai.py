"""MONAI's sliding window over a whole slide, in memory; run by dense.py in MONAI's interpreter.

Windows have the size and spacing of ours. Decoding is timed, writing is not: MONAI offers none for
slides. The image is float32, since MONAI merges windows in the type of its input.
"""

from __future__ import annotations


def main() -> None:
    """Read, infer, threshold."""
    import tifffile
    import torch
    from monai.inferers import sliding_window_inference
    from peer import Stopwatch, load_network, read_task, report

    task = read_task()
    network = load_network(task)
    watch = Stopwatch()
    pixels = tifffile.imread(task.slide, key=0)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        logits = sliding_window_inference(
            image,
            roi_size=task.window_px,
            sw_batch_size=task.batch,
            predictor=network,
            overlap=2 * task.halo_px / task.window_px,
            mode="constant",
        )
        labels = (logits > 0).to(torch.uint8).numpy()
    report(watch.read(), float(labels.mean()), "monai")


if __name__ == "__main__":
    main()

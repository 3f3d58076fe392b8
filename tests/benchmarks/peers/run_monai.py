"""MONAI's sliding window over a whole slide, in memory; run by dense.py in MONAI's interpreter.

Windows are as large as ours and as far apart. Decoding counts, writing is left out: MONAI offers
none for slides. The image is float32, as MONAI merges windows in the type of its input.
"""

from __future__ import annotations


def main() -> None:
    """Read, infer, threshold."""
    import tifffile
    import torch
    from monai.inferers import sliding_window_inference
    from peer import Stopwatch, load_network, read_job, report

    job = read_job()
    network = load_network(job)
    watch = Stopwatch()
    pixels = tifffile.imread(job.slide, key=0)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        logits = sliding_window_inference(
            image,
            roi_size=job.window_px,
            sw_batch_size=job.batch,
            predictor=network,
            overlap=2 * job.halo_px / job.window_px,
            mode="constant",
        )
        labels = (logits > 0).to(torch.uint8).numpy()
    report(watch.read(), float(labels.mean()), "monai")


if __name__ == "__main__":
    main()

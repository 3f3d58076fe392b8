"""Models that others trained: ONNX networks, and packages of the BioImage Model Zoo."""

"""ONNX networks: what a file holds, checked, and what its numbers mean."""

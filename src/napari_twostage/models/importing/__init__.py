"""Import of networks that others trained: ONNX files, and packages of the BioImage Model Zoo."""

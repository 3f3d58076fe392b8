"""Networks in torch: architectures, both stages as one module, pretrained weights."""

"""The paper's four tables, our figures beside the printed ones: ``python -m training.tables``."""

"""Training models: data sets, configurations, calibration, quantisation."""

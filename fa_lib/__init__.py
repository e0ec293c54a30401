"""Five face-alignment papers, reproduced: data, models, losses, metrics, and the runs behind every table and figure."""

__version__ = "0.1.0"

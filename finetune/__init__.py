"""Fine-tuning that starts from a trained head. Nothing is here yet; `extract` comes first."""

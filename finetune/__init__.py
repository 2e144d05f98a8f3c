"""Fine-tuning: end-to-end training that starts from a trained head."""

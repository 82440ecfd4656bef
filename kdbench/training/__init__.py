"""Turning a base model and a task into a trained model: students, batches, the Trainer, the teacher."""

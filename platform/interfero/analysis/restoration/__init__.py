"""What compressed images cost a segmentation model, and what restoring them wins back."""

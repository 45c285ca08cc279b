"""What each page says, made from what the operator knows and what its reader may see."""

"""Which layer gets which precision, under budgets of accuracy, bytes and time."""

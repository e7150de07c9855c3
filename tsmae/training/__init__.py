"""How models are trained and applied: batches, devices, skorch nets, callbacks."""

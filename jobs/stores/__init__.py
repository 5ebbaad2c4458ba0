"""The stores that the job writes."""

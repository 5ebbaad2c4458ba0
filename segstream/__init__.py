"""Segstream: real-time user segmentation on Flink."""

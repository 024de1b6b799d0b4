"""Results as files that other software reads: cloud-optimised GeoTIFFs."""

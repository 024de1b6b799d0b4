"""What has changed between two rasters of the same ground."""
